"""What stands for some stages where a model writes no text, but makes vectors or scores of it."""

from ovrecipe.build.stages.stage import Stage
from ovrecipe.build.stages.vectors import assemble, check, conformance, reference

STAGES: tuple[Stage, ...] = (conformance.STAGE, reference.STAGE, assemble.STAGE, check.STAGE)
