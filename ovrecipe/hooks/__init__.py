"""Hooks: the contract between ovrecipe and its plugins, built-in ones included.

What a plugin imports: `hookimpl` and `section_of` from `ovrecipe`, the types of
`ovrecipe.hooks.roles`, `ovrecipe.types`, `ovrecipe.recipe.sections` and `ovrecipe.errors`,
`session_of` for commands (`ovrecipe.cli.session`), and `ovrecipe.testing` in its tests.
"""
