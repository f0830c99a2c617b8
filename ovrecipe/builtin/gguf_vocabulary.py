"""What a GGUF file says of its vocabulary, checked, with llama.cpp's values where it is silent."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ovrecipe.builtin.gguf_cuts import CUTS, Cut
from ovrecipe.builtin.gguf_file import GgufFile

#: Values of tokenizer.ggml.token_type.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
SPACE = "▁"
#: What llama.cpp takes when a file does not say, by tokenizer.ggml.model.
DEFAULTS: Mapping[str, Mapping[str, bool]] = {
    "gpt2": {},
    "llama": {"add_space_prefix": True, "add_bos_token": True},
    "t5": {"add_space_prefix": True, "add_eos_token": True},
    "bert": {"add_bos_token": True, "add_sep_token": True},
}


@dataclass(frozen=True)
class Vocabulary:
    """A token table and how text becomes tokens of it.

    - `kind`: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `t5` (Unigram), `bert`.
    - `has_space_prefix`: a space is put before a text; never so with byte-level tokens, whatever a
      file says, for that is llama.cpp's rule.
    - `before` and `after`: the ids that are put around a text.
    - `stripping`: the added tokens that swallow the spaces behind them.
    """

    kind: str
    tokens: list[str]
    ids: dict[str, int]
    types: list[int]
    scores: list[float]
    merges: list[tuple[str, str]]
    cut: Cut
    has_space_prefix: bool
    before: list[int]
    after: list[int]
    unknown: int | None
    charsmap: bytes
    merges_spaces: bool
    lowercase: bool
    strip_accents: bool
    stripping: frozenset[int]

    @cached_property
    def added(self) -> dict[int, bool]:
        """The ids of tokens that are found in texts before all else; True for special ones."""
        is_special = {CONTROL: True, UNKNOWN: True, USER_DEFINED: False}
        return {n: is_special[kind] for n, kind in enumerate(self.types) if kind in is_special}


def vocabulary_of(file: GgufFile) -> Vocabulary:
    """Return a file's vocabulary.

    Raises:
        CheckpointIncomplete: its kind or its pre-tokenizer is not known, or it contradicts itself.
    """
    kind = _named(file, "tokenizer.ggml.model", DEFAULTS)
    cut = CUTS[_named(file, "tokenizer.ggml.pre", CUTS)] if kind == "gpt2" else Cut()
    pairs = file.needed("tokenizer.ggml.merges") if kind == "gpt2" else []
    lowercase = bool(_said(file, "normalizer.lowercase", kind=kind, otherwise=True))
    is_phi3 = "phi-3" in str(file.get("general.name", "")).lower().replace("phi3", "phi-3")
    types = _per_token(file, "token_type", NORMAL)
    if _said(file, "treat_whitespace_as_suffix", kind=kind, otherwise=False):
        raise file.refusal("its spaces stand behind words, which is not read")
    return Vocabulary(
        kind=kind,
        tokens=file.tokens,
        ids=file.ids,
        types=types,
        scores=_per_token(file, "scores", None if kind in ("llama", "t5") else 0.0),
        # A token may begin with a space of its own.
        merges=[(left, right) for left, right in map(_split_pair, pairs)],
        cut=cut,
        has_space_prefix=kind in ("llama", "t5")
        and _said(file, "add_space_prefix", kind=kind, otherwise=True),
        before=_around(file, "bos", kind=kind, otherwise=cut.add_bos),
        after=[
            *_around(file, "eos", kind=kind, otherwise=False),
            *_around(file, "sep", kind=kind, otherwise=False),
        ],
        unknown=file.special_ids.get("unk", next(iter(_of_type(types, UNKNOWN)), None)),
        charsmap=bytes(v % 256 for v in file.get("tokenizer.ggml.precompiled_charsmap") or []),
        merges_spaces=bool(_said(file, "remove_extra_whitespaces", kind=kind, otherwise=False)),
        lowercase=lowercase,
        strip_accents=bool(_said(file, "normalizer.strip_accents", kind=kind, otherwise=lowercase)),
        stripping=_stripping(file, types) if is_phi3 else frozenset(),
    )


def _split_pair(pair: str) -> tuple[str, str]:
    left, _, right = pair[1:].partition(" ")
    return pair[0] + left, right


def _said(file: GgufFile, name: str, *, kind: str, otherwise: bool) -> Any:
    """Return a setting of the tokenizer, or llama.cpp's own for this kind."""
    return file.get(f"tokenizer.ggml.{name}", DEFAULTS[kind].get(name, otherwise))


def _named(file: GgufFile, key: str, known: Mapping[str, Any]) -> str:
    """Return what a metadata value names, if it is known."""
    name = str(file.get(key, "not named"))
    if name not in known:
        raise file.refusal(
            f"{key} is '{name}', which is none of {', '.join(sorted(known))}; a guessed tokenizer "
            "would give wrong token ids"
        )
    return name


def _per_token(file: GgufFile, name: str, otherwise: Any) -> list[Any]:
    """Return a list with one value per token."""
    values = file.get(f"tokenizer.ggml.{name}")
    if values is None:
        if otherwise is None:
            raise file.refusal(f"the GGUF metadata has no 'tokenizer.ggml.{name}'")
        return [otherwise] * len(file.tokens)
    if len(values) != len(file.tokens):
        counts = f"{len(values)} values for {len(file.tokens)} tokens"
        raise file.refusal(f"tokenizer.ggml.{name} has {counts}")
    return list(values)


def _around(file: GgufFile, name: str, *, kind: str, otherwise: bool) -> list[int]:
    """Return the token that the file puts before or behind each text, if it does."""
    if not _said(file, f"add_{name}_token", kind=kind, otherwise=otherwise):
        return []
    if kind == "bert" and name == "bos" and name not in file.special_ids:
        name = "cls"  # What BERT calls it, and files of before 2025 did.
    if name not in file.special_ids:
        raise file.refusal(f"it wants a {name} token around texts, and names none")
    return [file.special_ids[name]]


def _of_type(types: list[int], wanted: int) -> list[int]:
    return [number for number, kind in enumerate(types) if kind == wanted]


def _stripping(file: GgufFile, types: list[int]) -> frozenset[int]:
    """Return Phi-3's tokens that swallow spaces; no metadata says so, and llama.cpp knows."""
    but = {"<unk>", "<s>", "<|endoftext|>"}
    return frozenset(
        number
        for kind in (UNKNOWN, CONTROL, USER_DEFINED)
        for number in _of_type(types, kind)
        if file.tokens[number] not in but
    )
