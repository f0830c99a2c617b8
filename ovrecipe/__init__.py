"""From a recipe file to a checked, fast OpenVINO language model that answers."""

__version__ = "0.1.0"
