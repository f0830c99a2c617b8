"""OpenAI's interface for the models that ovrecipe builds: `ovrecipe serve NAME[:VARIANT]`.

The way of a request through the modules: `protocol` (the socket) → `guard` (who may ask, and how
much) → `app` (which path) → `answering` (one answer, whole or streamed) → `models` (which model) →
`process` (the engine's process, seen from here) → `worker` (that process). This process imports
nothing of OpenVINO.
"""
