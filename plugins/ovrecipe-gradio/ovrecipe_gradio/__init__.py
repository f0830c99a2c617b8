"""A web page for the models that ovrecipe builds.

`ovrecipe web NAME[:VARIANT]` serves it; `ovrecipe chat NAME --frontend gradio` serves it for a
conversation that is open already. The way of an instruction through the modules: `page` (what
there is to see) → `handlers` (what a click does) → `session` (one browser) → `engine` (one model,
first come, first served) → `turn` (one answer as it comes) → `figures` (how it is shown).

gradio is imported when a page is built, never by looking for plugins.
"""
