"""Whether the converted tokenizer gives a model that only reads the ids that its own one gives.

Nothing is written, so no text has to come back; but what is put around texts, and between the two
of a pair, is part of what the model reads.

Two letters are allowed for, of which openvino_tokenizers 2026.4 makes other ids behind BERT's
normalizer: it folds the case of a long s, where that one only writes lower case, and keeps the
replacement character, which that one drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ovrecipe.conformance import corpus
from ovrecipe.conformance.compare import ConformanceReport, Difference
from ovrecipe.conformance.reference import Reference, reference_of
from ovrecipe.errors import GateError
from ovrecipe.recipe.tasks import RERANK, TaskName
from ovrecipe.wording import last_line

LEFT_OUT = ("\u017f", "\ufffd")
#: Each is paired with the next one.
PAIRED = (*corpus.WORDS, *corpus.CODE, *corpus.SCRIPTS)


def compare_encoding(
    checkpoint_dir: Path,
    tokenizer_dir: Path,
    *,
    task: TaskName,
    texts: Sequence[str],
    trust_remote_code: bool,
) -> ConformanceReport:
    """Compare ids over the corpus and over `texts`, for a `text-rerank` in pairs."""
    reference = reference_of(checkpoint_dir, tokenizer_dir, trust_remote_code=trust_remote_code)
    given = [*texts, *corpus.PLAIN_TEXTS]
    as_pairs = task == RERANK
    probes = [*pairwise(PAIRED)] if as_pairs else [(text,) for text in given]
    found = list(_differences(reference, _opened(tokenizer_dir, pairs=as_pairs), probes))
    differences = [difference for difference in found if difference is not None]
    return ConformanceReport(
        cases=len(found),
        failures=len(differences),
        first=differences[0] if differences else None,
        texts=len(probes),
        lossless_texts=0,
        tokens=reference.vocab_size,
    )


def _opened(tokenizer_dir: Path, *, pairs: bool) -> Any:
    from openvino_genai import Tokenizer

    try:
        return Tokenizer(tokenizer_dir, **({"add_second_input": True} if pairs else {}))
    except RuntimeError as exc:
        message = f"tokenizer: GenAI cannot open what was converted: {last_line(exc)}"
        raise GateError(message) from exc


def _differences(
    reference: Reference, tokenizer: Any, probes: Sequence[tuple[str, ...]]
) -> Iterator[Difference | None]:
    for part, before, after in reference.rewritten:
        check = f"the converter read tokenizer.json as another tokenizer: its {part}"
        yield Difference(check, "", before, after)
    for probe in probes:
        found = _difference(reference, tokenizer, probe)
        without = tuple(_without(text) for text in probe)
        if found is not None and without != probe:
            found = _difference(reference, tokenizer, without)
        yield found


def _difference(reference: Reference, tokenizer: Any, probe: tuple[str, ...]) -> Difference | None:
    expected = reference.encode(*probe, add_special_tokens=True)
    got = _ids(tokenizer, probe)
    return None if expected == got else Difference("token ids", " + ".join(probe), expected, got)


def _without(text: str) -> str:
    """Return the text without the letters that are allowed for."""
    return "".join(letter for letter in text if letter not in LEFT_OUT)


def _ids(tokenizer: Any, probe: tuple[str, ...]) -> list[int] | str:
    """Return the converted tokenizer's ids, or OpenVINO's complaint, which equals no ids."""
    try:
        inputs = tokenizer.encode(probe[0] if len(probe) == 1 else [list(probe)])
    except RuntimeError as exc:
        return f"OpenVINO failed: {last_line(exc)}"
    return [int(number) for number in inputs.input_ids.data[0]]
