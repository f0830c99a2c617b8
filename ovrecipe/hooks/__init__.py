"""Hooks: the contract between ovrecipe and its plugins, built-in ones included."""
