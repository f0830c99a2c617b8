"""A full-screen chat for ovrecipe: `ovrecipe chat NAME --frontend tui`.

Textual is imported when a conversation begins, not when ovrecipe asks for the frontend.
"""
