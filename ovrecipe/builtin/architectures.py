"""What is known of each architecture: who exports it, what answers rightly, tried how and when.

The data is written by `benchmarks/architectures.py`, which goes the whole route with each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ovrecipe.json_files import read_object

DATA = Path(__file__).with_name("architectures.json")
#: What comes of an architecture; the words of `result`.
RESULTS: Mapping[str, str] = {
    "right": "fp16, int8 and int4 are built, pass their gates and answer as torch does",
    "partly": "as right, but a variant is refused",
    "wrong": "is built, and answers otherwise than torch",
    "refused": "the build refuses it and says why",
    "untried": "not tried yet, or not without other packages or the checkpoint's own code",
}
#: Which optimum-intel exports by the checkpoint's own code only, though transformers has them too.
BY_OWN_CODE: Mapping[str, str] = {"deepseek_v3": "huggingface/optimum-intel#1608"}
#: How the classes of models that only go on with a text end.
DECODER = "ForCausalLM"


@dataclass(frozen=True)
class Architecture:
    """One `model_type`, or with a `+` a kind of it.

    `oldest` and `newest` are the transformers that optimum-intel exports it with; `remote_code`
    says that only the checkpoint brings its classes; `backend` is GenAI's attention that answers
    as the source does, or `steps`; `tokens` how many greedy ones are those of torch.
    """

    name: str
    result: str = "untried"
    oldest: str | None = None
    newest: str | None = None
    remote_code: bool = False
    gguf: bool = False
    backend: str | None = None
    paged_attention: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    tokens: str | None = None
    cause: str | None = None
    day: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_type(self) -> str:
        """What a checkpoint's config.json says."""
        return self.name.partition("+")[0]

    @property
    def transformers(self) -> str:
        """The versions of transformers that it is exported with, as people read them."""
        if self.oldest and self.newest:
            return f"{self.oldest} to {self.newest}"
        return f"{self.oldest or 'any'} or newer" if self.newest is None else f"to {self.newest}"

    @property
    def tried(self) -> str:
        """With what, and when."""
        return f"transformers {self.versions['transformers']}, {self.day}" if self.day else ""

    def as_json(self) -> dict[str, Any]:
        """Return all that is known."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {}, False)}


@cache
def architectures() -> tuple[Architecture, ...]:
    """Return all that were tried or that optimum-intel registers, by name."""
    document = read_object(DATA)
    return tuple(Architecture(**entry) for entry in document["architectures"])


def write_data(known: Iterable[Architecture]) -> None:
    """Write the data, an architecture a line."""
    entries = sorted(known, key=lambda one: one.name)
    lines = ",\n".join(json.dumps(one.as_json(), ensure_ascii=False) for one in entries)
    DATA.write_text(f'{{"architectures": [\n{lines}\n]}}\n', encoding="utf-8", newline="\n")


def problem_of(model_type: str, *, brings_code: bool) -> str | None:
    """Return why a checkpoint of that type cannot be built, known before anything heavy starts."""
    if model_type in BY_OWN_CODE and not brings_code:
        return (
            f"{model_type} cannot be built: optimum-intel exports it by the checkpoint's own code "
            f"('auto_map' in config.json), which this one does not bring, and its patch does not "
            f"fit the class of transformers ({BY_OWN_CODE[model_type]})"
        )
    if is_registered(model_type):
        return None
    from difflib import get_close_matches

    types = sorted({one.model_type for one in architectures()})
    close = get_close_matches(model_type, types, n=3, cutoff=0.5)
    nearest = f"; the nearest that it knows: {', '.join(close)}" if close else ""
    return (
        f"optimum-intel knows no text generation with the architecture {model_type!r} of the "
        f"checkpoint's config.json{nearest}. It would need an optimum-intel that exports it, or an "
        "exporter of a plugin ('ovrecipe new-plugin'); 'ovrecipe models' lists what is known"
    )


def encoder_problem(config: Mapping[str, Any]) -> str | None:
    """Return why a checkpoint that reads with an encoder cannot be built; None for a decoder.

    What transformers makes of it for text generation is its decoder alone, without a word: that
    goes on with a text instead of translating it.
    """
    classes = [str(name) for name in config.get("architectures") or ()]
    if not config.get("is_encoder_decoder") or any(name.endswith(DECODER) for name in classes):
        return None
    what = ", ".join(classes) or str(config.get("model_type"))
    return (
        f"the checkpoint is {what}, whose encoder reads the text and whose decoder answers it "
        "(translation, summaries): text generation would export the decoder alone, which never "
        f"sees what is asked. Only checkpoints of a class that ends in {DECODER} can be built; "
        "optimum-intel exports and runs this one: 'optimum-cli export openvino --task "
        "text2text-generation-with-past', then OVModelForSeq2SeqLM"
    )


def is_registered(model_type: str) -> bool:
    """Return whether optimum-intel exports it; read from its source, for importing loads torch.

    True where there is none to read: whoever imports it then says what is wrong.
    """
    spec = find_spec("optimum.exporters.openvino")
    if spec is None or spec.origin is None:
        return True
    text = Path(spec.origin).with_name("model_configs.py").read_text(encoding="utf-8")
    return f'"{model_type}"' in text
