"""The evaluator `divergence`: how far a variant's next tokens are from those of its base."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, Field

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GateError, foreign_errors
from ovrecipe.hooks.roles import EvaluationJob
from ovrecipe.measure.encoder import Encoder
from ovrecipe.measure.evaluation import Source, evaluated
from ovrecipe.measure.models import EXACTLY
from ovrecipe.measure.texts import INSTRUCTIONS, Written
from ovrecipe.types import Json

#: As many of the instructions are asked: a gate shall not take long.
ASKED = 3


class DivergenceOptions(BaseModel, frozen=True, extra="forbid"):
    """The limit, and how much of each answer is compared."""

    max_mean_kl: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=32, ge=1, le=1024)


class DivergenceEvaluator:
    """Compares a variant with its base as `ovrecipe evaluate` does, on a few answers of the base.

    What is kept in the manifest are the figures of `ovrecipe.measure.figures`.
    """

    packages = ("openvino", "openvino-genai")
    options_model = DivergenceOptions

    def evaluate(self, job: EvaluationJob) -> dict[str, Json]:
        """Return the mean divergence and its standard error.

        Raises:
            GateError: the mean is above `max_mean_kl`, or no number.
        """
        assert isinstance(job.options, DivergenceOptions), "validated before"
        with foreign_errors("measuring the divergence"), TemporaryDirectory() as folder:
            encoder = Encoder(job.model_dir)
            texts = Written(
                tuple(encoder.prompt(job.render(text)) for text in INSTRUCTIONS[:ASKED]),
                job.options.max_new_tokens,
                encoder.end,
            )
            source = Source(lambda: StatefulModel(job.base_dir, EXACTLY), texts, Path(folder))
            source.prepare(job.progress)
            facts = evaluated(job.model_dir, source, progress=job.progress).figures.facts()
        limit = job.options.max_mean_kl
        # Written so that a divergence that is no number fails too.
        if limit is not None and not float(str(facts["mean_kl"])) <= limit:
            message = f"mean_kl is {facts['mean_kl']}, above max_mean_kl {limit}"
            remedy = "compress less (a smaller group_size or ratio, awq), or raise the limit"
            raise GateError(message, remedy=remedy)
        return facts
