"""The contract between ovrecipe and its plugins, built-in ones included: `docs/plugins.md`."""
