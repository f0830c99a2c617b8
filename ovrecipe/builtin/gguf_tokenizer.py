"""From a GGUF token table to tokenizer.json and tokenizer_config.json.

`tokenizer.ggml.model` names the algorithm and `tokenizer.ggml.pre` how text is cut before it.
Both are taken at their word, or refused by name: transformers' own reader guesses from the
architecture instead and gives a Llama architecture with byte-level tokens a wrong tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.builtin.gguf_file import OTHER_SOURCE
from ovrecipe.errors import CheckpointIncomplete

if TYPE_CHECKING:
    from ovrecipe.builtin.gguf_file import GgufFile


#: Values of tokenizer.ggml.token_type that matter here.
CONTROL, USER_DEFINED = 3, 4

LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_WORDS = LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass(frozen=True)
class Cut:
    """How text is cut before byte-level BPE: by digits, by a pattern, or as GPT-2 does."""

    digits: bool = False
    pattern: str | None = None
    nfc: bool = False
    ignore_merges: bool = False


#: Pre-tokenizers by llama.cpp's names; smollm was compared with its model's own tokenizer, the
#: others follow their model's published tokenizer.json.
CUTS = {
    "gpt-2": Cut(),
    "smollm": Cut(digits=True),
    "llama-bpe": Cut(pattern=LLAMA3_WORDS, ignore_merges=True),
    "llama3": Cut(pattern=LLAMA3_WORDS, ignore_merges=True),
    "qwen2": Cut(pattern=QWEN2_WORDS, nfc=True),
}


def tokenizer_of(file: GgufFile) -> Any:
    """Return the `tokenizers.Tokenizer` that the file describes.

    Raises:
        CheckpointIncomplete: its algorithm or pre-tokenizer is not known here.
    """
    kind = str(file.require("tokenizer.ggml.model"))
    if kind == "gpt2":
        tokenizer = _byte_level(file, _cut_of(file))
    elif kind == "llama":
        tokenizer = _sentencepiece(file)
    else:
        raise _unknown(file, "tokenizer.ggml.model", kind, ("gpt2", "llama"))
    _add_tokens(file, tokenizer)
    _add_template(file, tokenizer, begins=kind == "llama")
    return tokenizer


def tokenizer_config_of(file: GgufFile) -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    named = {
        "bos_token": "bos_token_id",
        "eos_token": "eos_token_id",
        "unk_token": "unknown_token_id",
        "pad_token": "padding_token_id",
    }
    ids = {name: file.get(f"tokenizer.ggml.{key}") for name, key in named.items()}
    return {
        # The generic class takes tokenizer.json as it is; a model's own class may rebuild it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(file.fact("context_length")),
        **{name: file.tokens[int(id_)] for name, id_ in ids.items() if id_ is not None},
    }


def _cut_of(file: GgufFile) -> Cut:
    name = str(file.get("tokenizer.ggml.pre", "not named"))
    if name not in CUTS:
        raise _unknown(file, "tokenizer.ggml.pre", name, tuple(CUTS))
    return CUTS[name]


def _unknown(file: GgufFile, key: str, value: str, known: tuple[str, ...]) -> CheckpointIncomplete:
    return CheckpointIncomplete(
        f"{file.path.name}: {key} is '{value}', which is none of {', '.join(known)}; "
        "a guessed tokenizer would give wrong token ids",
        remedy=OTHER_SOURCE,
    )


def _byte_level(file: GgufFile, cut: Cut) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers

    merges = [tuple(pair.split(" ", 1)) for pair in file.require("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(file.ids, merges, ignore_merges=cut.ignore_merges))
    if cut.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _pre_tokenizer(file, cut)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _pre_tokenizer(file: GgufFile, cut: Cut) -> Any:
    from tokenizers import Regex, pre_tokenizers

    prefix = bool(file.get("tokenizer.ggml.add_space_prefix", False))
    parts: list[Any] = []
    if cut.pattern is not None:
        parts.append(pre_tokenizers.Split(Regex(cut.pattern), behavior="isolated"))
    elif cut.digits:
        parts.append(pre_tokenizers.Digits(individual_digits=True))
    parts.append(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=cut.pattern is None))
    return pre_tokenizers.Sequence(parts) if len(parts) > 1 else parts[0]


def _sentencepiece(file: GgufFile) -> Any:
    """Return SentencePiece's BPE as byte-fallback BPE with merges in the order of the scores."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    unknown = file.tokens[int(file.get("tokenizer.ggml.unknown_token_id", 0))]
    tokenizer = Tokenizer(
        models.BPE(file.ids, _merges(file), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = bool(file.get("tokenizer.ggml.add_space_prefix", True))
    prepend = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prepend, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges(file: GgufFile) -> list[tuple[str, str]]:
    """Return every way to join two tokens into a third, the best-scored third first."""
    scores, ids = file.require("tokenizer.ggml.scores"), file.ids
    found: list[tuple[float, int, int, str, str]] = []
    for text, score in zip(file.tokens, scores, strict=True):
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _add_tokens(file: GgufFile, tokenizer: Any) -> None:
    from tokenizers import AddedToken

    kinds = file.get("tokenizer.ggml.token_type") or []
    chosen = [(file.tokens[n], kind) for n, kind in enumerate(kinds) if kind >= CONTROL]
    special = [AddedToken(t, normalized=False, special=True) for t, k in chosen if k == CONTROL]
    others = [AddedToken(t, normalized=False) for t, k in chosen if k == USER_DEFINED]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(others)


def _add_template(file: GgufFile, tokenizer: Any, *, begins: bool) -> None:
    """Put BOS and EOS where the file wants them; `begins` is what silence means for BOS."""
    from tokenizers import processors

    before: list[tuple[str, int]] = []
    after: list[tuple[str, int]] = []
    for key, is_added, tokens in (("bos", begins, before), ("eos", False, after)):
        number = file.get(f"tokenizer.ggml.{key}_token_id")
        if number is not None and file.get(f"tokenizer.ggml.add_{key}_token", is_added):
            tokens.append((file.tokens[int(number)], int(number)))
    if before or after:
        texts = [*(text for text, _ in before), "$A", *(text for text, _ in after)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(texts), special_tokens=[*before, *after]
        )
