"""From a built variant to an answer: prompt, pipeline, stream, filters, metrics.

`ovrecipe.load` is the door; `runner.Runner` is what stands behind it. Nothing in this package
imports OpenVINO before a model is loaded, and `pipeline.Pipeline` is all the rest knows of it.
"""
