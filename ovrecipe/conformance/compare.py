"""The tokenizer gate: does the OpenVINO pair do what the checkpoint's tokenizer does?

Three questions, because each alone can be fooled:

1. Are ids and texts equal, for a corpus and for every single token of the vocabulary?
2. Is the tokenizer itself sound: do its texts survive the way to ids and back?
3. Does it fit the model: no id beyond the vocabulary, no begin-of-text token that ends texts?

One difference is allowed for. Of ids that stop inside a character, byte-fallback tokenizers make
one replacement character per byte, finished characters just before included; the OpenVINO pair
makes one for what is unfinished. No reader sees either: a streamer waits for the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.conformance.corpus import (
    EMOJI,
    PLAIN_TEXTS,
    SCRIPTS,
    lossless_texts,
    same_text,
    texts_around,
)
from ovrecipe.conformance.reference import reference_of, tokenizer_settings
from ovrecipe.errors import GateError
from ovrecipe.json_files import read_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ovrecipe.conformance.reference import Reference

#: Added tokens tried in the middle of texts; a model can have a thousand reserved ones.
MAX_ADDED_TOKENS = 200
SHOWN = 60
REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Difference:
    """One case that went wrong; `expected` and `got` are ids or text, as the check says."""

    check: str
    text: str
    expected: list[int] | str
    got: list[int] | str

    def describe(self) -> str:
        """Return the case in four readable lines, cut around the first difference."""
        pairs = enumerate(zip(self.expected, self.got, strict=False))
        shorter = min(len(self.expected), len(self.got))
        place = next((n for n, (left, right) in pairs if left != right), shorter)
        return (
            f"{self.check}\n"
            f"  text:     {_shown(self.text, 0)}\n"
            f"  expected: {_shown(self.expected, place)}\n"
            f"  got:      {_shown(self.got, place)}"
        )


@dataclass(frozen=True)
class ConformanceReport:
    """How many cases were tried, the first that failed, and how many did.

    `added_tokens_left_out` counts the added tokens that were tried alone but in no text.
    """

    cases: int
    failures: int
    first: Difference | None
    texts: int
    lossless_texts: int
    tokens: int
    added_tokens_left_out: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the numbers, for the manifest."""
        numbers = asdict(self)
        del numbers["first"]
        return numbers


def compare_tokenizers(
    checkpoint_dir: Path,
    tokenizer_dir: Path,
    *,
    prompts: Sequence[str],
    trust_remote_code: bool,
) -> ConformanceReport:
    """Compare a converted pair with its checkpoint over the corpus and the recipe's prompts."""
    trial = _Trial(
        reference=reference_of(checkpoint_dir, tokenizer_dir, trust_remote_code=trust_remote_code),
        pair=_opened(tokenizer_dir),
        settings=tokenizer_settings(checkpoint_dir) or tokenizer_settings(tokenizer_dir),
        model=_model_facts(checkpoint_dir),
        prompts=tuple(prompts),
    )
    outcomes = list(trial.outcomes())
    differences = [outcome for outcome in outcomes if outcome is not None]
    return ConformanceReport(
        cases=len(outcomes),
        failures=len(differences),
        first=differences[0] if differences else None,
        texts=len(trial.texts),
        lossless_texts=len(list(lossless_texts(trial.settings, PLAIN_TEXTS))),
        tokens=trial.reference.vocab_size,
        added_tokens_left_out=max(0, len(trial.added_texts) - MAX_ADDED_TOKENS),
    )


def check_conformance(report: ConformanceReport) -> None:
    """Let a report pass, or refuse the artifact.

    Raises:
        GateError: the pair is wrong; the message shows the first difference.
    """
    if report.first is not None:
        raise GateError(
            f"tokenizer: {report.failures} of {report.cases} comparisons failed; the first:\n"
            f"{report.first.describe()}",
            remedy="the model would read and write wrong text: use a checkpoint with its original "
            "tokenizer files, or another tokenizer.converter",
        )


@dataclass(frozen=True)
class _Trial:
    """Everything that is compared with everything else."""

    reference: Reference
    pair: Any
    settings: dict[str, Any]
    model: dict[str, Any]
    prompts: tuple[str, ...]

    @property
    def added_texts(self) -> list[str]:
        return [text for number, text in self.reference.added_tokens.items() if self._fits(number)]

    @property
    def texts(self) -> list[str]:
        tried = self.added_texts[:MAX_ADDED_TOKENS]
        return [*self.prompts, *PLAIN_TEXTS, *texts_around(tried)]

    def outcomes(self) -> Iterator[Difference | None]:
        """Yield one outcome per comparison, what explains most first."""
        for part, before, after in self.reference.rewritten_parts():
            check = f"the converter read tokenizer.json as another tokenizer: its {part}"
            yield Difference(check, "", before, after)
        yield from self._soundness()
        yield self._ends_with_its_beginning()
        for text in self.texts:
            for special in (False, True):
                yield from self._text(text, add_special_tokens=special)
        for text in (*EMOJI, *SCRIPTS[:4]):
            # What a stream sees: ids that stop inside a character.
            ids = self.reference.encode(text, add_special_tokens=False)
            for end in range(1, len(ids)):
                yield self._prefix(text, ids[:end])
        yield from self._single_tokens()

    def _soundness(self) -> Iterator[Difference | None]:
        for text, expected in lossless_texts(self.settings, PLAIN_TEXTS):
            ids = self.reference.encode(text, add_special_tokens=False)
            got = self.reference.decode(ids, skip_special_tokens=False)
            check = "the checkpoint's tokenizer does not give back the text it was given"
            same = same_text(self.settings, expected, got)
            yield None if same else Difference(check, text, expected, got)

    def _ends_with_its_beginning(self) -> Difference | None:
        """Tell the token that ends texts from the one that begins them.

        Fine-tuned models whose tokenizer ends turns with a token that config.json does not know
        are common and work; taking the model's begin-of-text for its end never does.
        """
        ends, begin = self.model["eos"], self.model["bos"]
        own = int(self.pair.get_eos_token_id())
        if not ends or own in ends or own != begin:
            return None
        check = "the tokenizer ends texts with the token that begins them (ids of eos_token)"
        return Difference(check, self.reference.added_tokens.get(own, ""), sorted(ends), [own])

    def _text(self, text: str, *, add_special_tokens: bool) -> Iterator[Difference | None]:
        ids = self.reference.encode(text, add_special_tokens=add_special_tokens)
        beyond = [number for number in ids if not self._fits(number)]
        if beyond:
            size = self.model["vocab_size"]
            yield Difference(f"ids beyond the model's vocabulary of {size}", text, [], beyond)
        got = self._encoded(text, add_special_tokens=add_special_tokens)
        yield _compared(f"token ids, add_special_tokens={add_special_tokens}", text, ids, got)
        for skip in (True, False):
            expected = self.reference.decode(ids, skip_special_tokens=skip)
            decoded = self._decoded(ids, skip_special_tokens=skip)
            yield _compared(f"decoded text, skip_special_tokens={skip}", text, expected, decoded)

    def _prefix(self, text: str, ids: list[int]) -> Difference | None:
        expected = self.reference.decode(ids, skip_special_tokens=True)
        got = self._decoded(ids, skip_special_tokens=True)
        finished, unfinished, _ = expected.partition(REPLACEMENT)
        falls_back = (self.settings.get("model") or {}).get("byte_fallback", False)
        if falls_back and unfinished and got.startswith(finished) and got.endswith(REPLACEMENT):
            return None
        return _compared("decoded beginning of a text", text, expected, got)

    def _single_tokens(self) -> Iterator[Difference | None]:
        """Decode every token by itself."""
        sequences = [[number] for number in range(self.reference.vocab_size)]
        try:
            texts = self.pair.decode(sequences, skip_special_tokens=False)
        except RuntimeError as exc:
            yield Difference("decoding every token", "", "one text each", _complaint(exc))
            return
        for ids, got in zip(sequences, texts, strict=True):
            expected = self.reference.decode(ids, skip_special_tokens=False)
            yield _compared(f"decoded token {ids[0]}", expected, expected, str(got))

    def _encoded(self, text: str, *, add_special_tokens: bool) -> list[int] | str:
        """Return the pair's ids, or OpenVINO's complaint, which equals no ids."""
        try:
            inputs = self.pair.encode(text, add_special_tokens=add_special_tokens)
        except RuntimeError as exc:
            return _complaint(exc)
        return [int(number) for number in inputs.input_ids.data[0]]

    def _decoded(self, ids: list[int], *, skip_special_tokens: bool) -> str:
        """Return the pair's text, or OpenVINO's complaint, which equals no text."""
        if not ids:
            return ""  # GenAI refuses to decode nothing, and never has to
        try:
            return str(self.pair.decode(ids, skip_special_tokens=skip_special_tokens))
        except RuntimeError as exc:
            return _complaint(exc)

    def _fits(self, number: int) -> bool:
        """Say whether the model has an embedding for an id, as far as its config tells.

        Added tokens beyond it (Gemma 3's image token in its text models) are left out above.
        """
        size = self.model["vocab_size"]
        return size is None or number < size


def _opened(tokenizer_dir: Path) -> Any:
    from openvino_genai import Tokenizer

    try:
        return Tokenizer(tokenizer_dir)
    except RuntimeError as exc:
        raise GateError(
            f"tokenizer: GenAI cannot open the converted pair: {_complaint(exc)}"
        ) from exc


def _complaint(error: RuntimeError) -> str:
    """Return what OpenVINO says went wrong; its first lines name only its own source file."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"OpenVINO failed: {lines[-1] if lines else error!r}"


def _compared(
    check: str, text: str, expected: list[int] | str, got: list[int] | str
) -> Difference | None:
    return None if expected == got else Difference(check, text, expected, got)


def _model_facts(checkpoint_dir: Path) -> dict[str, Any]:
    """Return vocab_size, bos and the set of eos ids that config and generation_config say."""
    config, generation = (
        read_object(checkpoint_dir / name, shown=name, error=GateError)
        for name in ("config.json", "generation_config.json")
    )
    config |= config.get("text_config") or {}
    ends = [config.get("eos_token_id"), generation.get("eos_token_id")]
    flat = [id_ for end in ends for id_ in (end if isinstance(end, list) else [end])]
    return {
        "vocab_size": config.get("vocab_size"),
        "bos": generation.get("bos_token_id", config.get("bos_token_id")),
        "eos": {int(id_) for id_ in flat if id_ is not None},
    }


def _shown(value: list[int] | str, place: int) -> str:
    """Return a window around a place, in a form where white space is visible."""
    width = SHOWN if isinstance(value, str) else SHOWN // 4
    start = max(0, place - width // 2) if len(value) > width else 0
    window = value[start : start + width]
    text = repr(window) if isinstance(window, str) else " ".join(map(str, window)) or "(none)"
    before = "… " if start else ""
    after = " …" if start + width < len(value) else ""
    return f"{before}{text}{after}"
