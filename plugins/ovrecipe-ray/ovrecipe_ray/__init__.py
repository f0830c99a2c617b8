"""Batches and builds of ovrecipe on a Ray cluster: `--ray ADDRESS` of `batch` and `build`.

`cluster` is what ovrecipe asks for; `pool` keeps an engine on each node, which is an `answering`
actor there and got its model as a `shipment`; `stages` runs the process of a stage on a node.
"""
