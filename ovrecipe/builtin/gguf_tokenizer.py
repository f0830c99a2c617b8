"""From a GGUF token table to tokenizer.json and tokenizer_config.json.

`tokenizer.ggml.model` names the algorithm and `tokenizer.ggml.pre` how text is cut before it.
Both are taken at their word, or refused by name: transformers' own reader guesses from the
architecture instead and gives a Llama architecture with byte-level tokens a wrong tokenizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ovrecipe.builtin.gguf_file import GgufFile

T = TypeVar("T")
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
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing

    makers = {"gpt2": _byte_level, "llama": _sentencepiece}
    make = _named(file, "tokenizer.ggml.model", makers)
    tokenizer = make(file)
    kinds = file.get("tokenizer.ggml.token_type") or []
    for kind in (CONTROL, USER_DEFINED):
        flags = {"normalized": False, "special": kind == CONTROL}
        texts = [file.tokens[number] for number, found in enumerate(kinds) if found == kind]
        tokenizer.add_tokens([AddedToken(text, **flags) for text in texts])
    before = _added(file, "bos", default=make is _sentencepiece)
    after = _added(file, "eos", default=False)
    if before or after:
        parts = [*(text for text, _ in before), "$A", *(text for text, _ in after)]
        tokenizer.post_processor = TemplateProcessing(single=parts, special_tokens=before + after)
    return tokenizer


def tokenizer_config_of(file: GgufFile) -> dict[str, Any]:
    """Return the content of tokenizer_config.json."""
    return {
        # The generic class takes tokenizer.json as it is; a model's own class may rebuild it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(file.fact("context_length")),
        **{f"{name}_token": file.tokens[id_] for name, id_ in file.special_ids.items()},
    }


def _named(file: GgufFile, key: str, known: Mapping[str, T]) -> T:
    """Return what a metadata value names."""
    name = str(file.get(key, "not named"))
    if name not in known:
        raise file.refusal(
            f"{key} is '{name}', which is none of {', '.join(known)}; a guessed tokenizer would "
            "give wrong token ids"
        )
    return known[name]


def _added(file: GgufFile, name: str, *, default: bool) -> list[tuple[str, int]]:
    """Return the token that the file puts before or behind each text, if it does."""
    id_ = file.special_ids.get(name)
    is_added = file.get(f"tokenizer.ggml.add_{name}_token", default)
    return [(file.tokens[id_], id_)] if is_added and id_ is not None else []


def _byte_level(file: GgufFile) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    cut = _named(file, "tokenizer.ggml.pre", CUTS)
    merges = [tuple(pair.split(" ", 1)) for pair in file.needed("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(file.ids, merges, ignore_merges=cut.ignore_merges))
    if cut.nfc:
        tokenizer.normalizer = normalizers.NFC()
    prefix = bool(file.get("tokenizer.ggml.add_space_prefix", False))
    split = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=cut.pattern is None)
    if cut.pattern is not None:
        by_pattern = pre_tokenizers.Split(Regex(cut.pattern), behavior="isolated")
        split = pre_tokenizers.Sequence([by_pattern, split])
    elif cut.digits:
        by_digit = pre_tokenizers.Digits(individual_digits=True)
        split = pre_tokenizers.Sequence([by_digit, split])
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(file: GgufFile) -> Any:
    """Return SentencePiece's BPE as byte-fallback BPE with merges in the order of the scores."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    unknown = file.tokens[file.special_ids.get("unk", 0)]
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
    scores, ids = file.needed("tokenizer.ggml.scores"), file.ids
    found: list[tuple[float, int, int, str, str]] = []
    for text, score in zip(file.tokens, scores, strict=True):
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]
