"""An output filter for ovrecipe: replaces what is private in what the user sees."""
