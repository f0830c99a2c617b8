"""Compressors that come with ovrecipe."""
