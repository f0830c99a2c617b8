"""The tokenizer gate: does the OpenVINO pair do what the checkpoint's tokenizer does?

Three questions, because each alone can be fooled:

1. Are ids and texts equal, for a corpus and for every single token of the vocabulary?
2. Is the tokenizer itself sound: do its texts survive the way to ids and back?
3. Does it fit the model: no id beyond the vocabulary, no begin-of-text token that ends texts?

One difference is allowed for. Of ids that stop inside a character, byte-fallback tokenizers make
one replacement character per byte, finished characters just before included; the OpenVINO pair
makes one for what is unfinished. No reader sees either: a streamer waits for the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ovrecipe.conformance import corpus
from ovrecipe.conformance.reference import Reference, reference_of
from ovrecipe.errors import GateError
from ovrecipe.json_files import GENERATION_CONFIG, read_object
from ovrecipe.wording import last_line

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
        pairs = enumerate(zip_longest(self.expected, self.got))
        place = next((n for n, (left, right) in pairs if left != right), 0)
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
        return {name: number for name, number in asdict(self).items() if name != "first"}


def compare_tokenizers(
    checkpoint_dir: Path, tokenizer_dir: Path, *, prompts: Sequence[str], trust_remote_code: bool
) -> ConformanceReport:
    """Compare a converted pair with its checkpoint over the corpus and the recipe's prompts."""
    reference = reference_of(checkpoint_dir, tokenizer_dir, trust_remote_code=trust_remote_code)
    trial = _Trial(reference, checkpoint_dir, tokenizer_dir, prompts)
    outcomes = list(trial.outcomes())
    differences = [outcome for outcome in outcomes if outcome is not None]
    return ConformanceReport(
        cases=len(outcomes),
        failures=len(differences),
        first=differences[0] if differences else None,
        texts=len(trial.texts),
        lossless_texts=len(list(corpus.lossless_texts(trial.settings, corpus.PLAIN_TEXTS))),
        tokens=reference.vocab_size,
        added_tokens_left_out=trial.left_out,
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


class _Trial:
    """Everything that is compared with everything else."""

    def __init__(
        self,
        reference: Reference,
        checkpoint_dir: Path,
        tokenizer_dir: Path,
        prompts: Sequence[str],
    ) -> None:
        from openvino_genai import Tokenizer

        try:
            self.pair = Tokenizer(tokenizer_dir)
        except RuntimeError as exc:
            message = f"tokenizer: GenAI cannot open the converted pair: {last_line(exc)}"
            raise GateError(message) from exc
        self.reference = reference
        own = _read(checkpoint_dir, "tokenizer.json")
        self.settings = own or _read(tokenizer_dir, "tokenizer.json")
        self.model = _model_facts(checkpoint_dir)
        added = [text for number, text in reference.added_tokens.items() if self._fits(number)]
        self.left_out = max(0, len(added) - MAX_ADDED_TOKENS)
        self.texts = [*prompts, *corpus.PLAIN_TEXTS, *corpus.texts_around(added[:MAX_ADDED_TOKENS])]

    def outcomes(self) -> Iterator[Difference | None]:
        """Yield one outcome per comparison, what explains most first."""
        for part, before, after in self.reference.rewritten:
            check = f"the converter read tokenizer.json as another tokenizer: its {part}"
            yield Difference(check, "", before, after)
        yield from self._soundness()
        yield self._ends_with_its_beginning()
        for text in self.texts:
            for special in (False, True):
                yield from self._text(text, add_special_tokens=special)
        for text in (*corpus.EMOJI, *corpus.SCRIPTS[:4]):
            # What a stream sees: ids that stop inside a character.
            ids = self.reference.encode(text, add_special_tokens=False)
            for end in range(1, len(ids)):
                yield self._prefix(text, ids[:end])
        yield from self._single_tokens()

    def _soundness(self) -> Iterator[Difference | None]:
        for text, expected in corpus.lossless_texts(self.settings, corpus.PLAIN_TEXTS):
            ids = self.reference.encode(text, add_special_tokens=False)
            got = self.reference.decode(ids, skip_special_tokens=False)
            check = "the checkpoint's tokenizer does not give back the text it was given"
            same = corpus.same_text(self.settings, expected, got)
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
        sequences = [[number] for number in range(self.reference.vocab_size)]
        texts = self._decoded(sequences, skip_special_tokens=False)
        if isinstance(texts, str):
            yield Difference("decoding every token", "", "one text each", texts)
            return
        for ids, got in zip(sequences, texts, strict=True):
            expected = self.reference.decode(ids, skip_special_tokens=False)
            yield _compared(f"decoded token {ids[0]}", expected, expected, got)

    def _encoded(self, text: str, *, add_special_tokens: bool) -> list[int] | str:
        """Return the pair's ids, or OpenVINO's complaint, which equals no ids."""
        try:
            inputs = self.pair.encode(text, add_special_tokens=add_special_tokens)
        except RuntimeError as exc:
            return f"OpenVINO failed: {last_line(exc)}"
        return [int(number) for number in inputs.input_ids.data[0]]

    def _decoded(self, ids: list[Any], *, skip_special_tokens: bool) -> Any:
        """Return the pair's text (texts of lists), or OpenVINO's complaint, which equals none."""
        if not ids:
            return ""  # GenAI refuses to decode nothing, and never has to
        try:
            return self.pair.decode(ids, skip_special_tokens=skip_special_tokens)
        except RuntimeError as exc:
            return f"OpenVINO failed: {last_line(exc)}"

    def _fits(self, number: int) -> bool:
        """Say whether the model has an embedding for an id, as far as its config tells.

        Added tokens beyond it (Gemma 3's image token in its text models) are left out above.
        """
        size = self.model["vocab_size"]
        return size is None or number < size


def _compared(check: str, text: str, expected: Any, got: Any) -> Difference | None:
    return None if expected == got else Difference(check, text, expected, got)


def _read(folder: Path, name: str) -> dict[str, Any]:
    return read_object(folder / name, shown=name, error=GateError)


def _model_facts(checkpoint_dir: Path) -> dict[str, Any]:
    """Return vocab_size, bos and the set of eos ids that config and generation_config say."""
    config = _read(checkpoint_dir, "config.json")
    generation = _read(checkpoint_dir, GENERATION_CONFIG)
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
