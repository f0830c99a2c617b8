"""What a source makes of texts that it only reads: states of their tokens, or logits of pairs.

The counterpart of `reference` for tasks that write no text. Kept are states and not embeddings, so
that how these are made of them (pooling, length) changes nothing that takes long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.ir import IR_XML
from ovrecipe.builtin.vector_settings import positions
from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.measure.models import EXACTLY
from ovrecipe.measure.reference import stored_arrays
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "readings.npz"
#: Of several lengths, subjects and languages; what tells them apart is what a model must keep.
TEXTS = (
    "Paris",
    "The capital of France is Paris.",
    "Berlin is the largest city of Germany, and it lies on the river Spree.",
    "How do I return a parcel that arrived damaged?",
    "You can send the goods back within thirty days; we pay for the postage.",
    "def mean(numbers):\n    return sum(numbers) / len(numbers)",
    "Water boils at 100 °C at sea level, and at 71 °C on the top of Mount Everest.",
    "Die Katze schläft den ganzen Tag auf dem warmen Ofen.",
    "Le petit déjeuner est servi de sept heures à dix heures.",
    "The court dismissed the appeal, since it was lodged after the time limit.",
    "Interest rates rose again in March, which made mortgages dearer for most families.",
    "She laughed, closed the book and went out into the rain without a coat.",
)
QUERIES = (
    "What is the capital of France?",
    "How can I send back something that I bought?",
    "At which temperature does water boil?",
)
PAIRS = tuple((query, text) for query in QUERIES for text in TEXTS[1:7])
#: What each task reads: a text, or two that belong together.
PROBES: Mapping[TaskName, Sequence[tuple[str, ...]]] = {
    EMBEDDING: [(text,) for text in TEXTS],
    RERANK: PAIRS,
}
#: The output of an IR that the task is about.
OUTPUTS: Mapping[TaskName, str] = {EMBEDDING: "last_hidden_state", RERANK: "logits"}


@dataclass(frozen=True)
class Readings:
    """What a source makes of the probes of its task, cut to `max_length` tokens.

    `inputs` are those of each probe by name, `outputs` states (tokens, size) of each, or logits
    (labels,). `by` says who computed them.
    """

    inputs: list[dict[str, list[int]]]
    outputs: list[NDArray[np.float32]]
    max_length: int
    by: str

    def save(self, folder: Path) -> None:
        """Write `readings.npz` into a folder."""
        import numpy as np

        arrays: dict[str, Any] = {
            f"output_{number:03}": output for number, output in enumerate(self.outputs)
        }
        inputs = json.dumps(self.inputs)
        np.savez(folder / FILE, inputs=inputs, max_length=self.max_length, by=self.by, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Readings:
        """Read `readings.npz` of a folder.

        Raises:
            ArtifactCorrupt: it is damaged.
        """
        with stored_arrays(folder / FILE) as found:
            names = sorted(name for name in found.files if name.startswith("output_"))
            return cls(
                inputs=json.loads(str(found["inputs"])),
                outputs=[found[name] for name in names],
                max_length=int(found["max_length"]),
                by=str(found["by"]),
            )


class ReadingsTaken:
    """Collects what a source makes of the probes (`hooks.roles.Readings`)."""

    def __init__(self, task: TaskName, checkpoint_dir: Path, *, trust_remote_code: bool) -> None:
        self._max_length = partial(positions, checkpoint_dir)
        self._read = partial(read_probes, task, checkpoint_dir, trust_remote_code=trust_remote_code)
        self._outputs: list[NDArray[np.float32]] = []

    @cached_property
    def inputs(self) -> list[dict[str, list[int]]]:
        """The probes as inputs of the model; the tokenizer is read for who asks."""
        return self._read(max_length=self._max_length())

    def take(self, output: Any) -> None:
        """Keep what was made of the next probe.

        Raises:
            StageError: a number in it is not finite.
        """
        import numpy as np

        found = np.asarray(output, np.float32)
        if not np.isfinite(found).all():
            raise StageError(
                "the checkpoint's own states or scores are not finite",
                remedy="its weights are damaged, or overflow in their dtype; fetch it again",
            )
        self._outputs.append(found)

    def reference(self, by: str) -> Readings | None:
        """Return all that was taken; None without any."""
        if not self._outputs:
            return None
        return Readings(self.inputs, self._outputs, self._max_length(), by)


def read_probes(
    task: TaskName, checkpoint_dir: Path, *, max_length: int, trust_remote_code: bool
) -> list[dict[str, list[int]]]:
    """Return the probes of a task as the checkpoint's own tokenizer makes inputs of them.

    Raises:
        StageError: transformers cannot read the tokenizer.
    """
    with foreign_errors("reading the checkpoint's tokenizer"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint_dir, local_files_only=True, trust_remote_code=trust_remote_code
        )
        cut: dict[str, Any] = {"truncation": True, "max_length": max_length}
        return [dict(tokenizer(*texts, **cut)) for texts in PROBES[task]]


def outputs_of(
    model_dir: Path,
    inputs: Sequence[Mapping[str, Sequence[int]]],
    task: TaskName,
    properties: Mapping[str, str] = EXACTLY,
) -> list[NDArray[np.float32]]:
    """Return what an IR makes of each probe, as in `Readings`.

    Raises:
        StageError: OpenVINO cannot open or run the model, or it has no such output.
    """
    import numpy as np
    import openvino as ov

    with foreign_errors(f"running {IR_XML}"):
        compiled = ov.Core().compile_model(model_dir / IR_XML, "CPU", {**properties})
        asked = results(compiled, inputs)
        return [np.array(result[OUTPUTS[task]][0], np.float32) for result in asked]


def results(compiled: Any, inputs: Sequence[Mapping[str, Sequence[int]]]) -> Iterator[Any]:
    """Yield what a compiled model gives for each probe; valid until the next one is asked for."""
    import numpy as np

    names = {name for port in compiled.inputs for name in port.names}
    request = compiled.create_infer_request()
    for probe in inputs:
        given = {name: np.array([row], np.int64) for name, row in probe.items()}
        yield request.infer({name: given[name] for name in names if name in given})
