"""From a GGUF vocabulary to tokenizer.json and tokenizer_config.json.

The metadata is taken at its word, or refused by name: transformers' own reader guesses from the
architecture instead, gives a Llama architecture with byte-level tokens a wrong tokenizer, and
splits SentencePiece's "▁capital" wrongly.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ovrecipe.builtin.gguf_file import GgufFile
from ovrecipe.builtin.gguf_vocabulary import SPACE, Vocabulary

#: WordPiece gives up on longer words, as BERT's own tokenizer does.
LONGEST_WORD = 100


def tokenizer_of(vocabulary: Vocabulary) -> Any:
    """Return the `tokenizers.Tokenizer` of a vocabulary."""
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing

    tokenizer = MAKERS[vocabulary.kind](vocabulary)
    for is_special in (True, False):
        tokenizer.add_tokens(
            [
                AddedToken(
                    vocabulary.tokens[id_],
                    normalized=False,
                    special=is_special,
                    rstrip=id_ in vocabulary.stripping,
                )
                for id_, special in vocabulary.added.items()
                if special is is_special
            ]
        )
    before, after = (
        [(vocabulary.tokens[id_], id_) for id_ in ids]
        for ids in (vocabulary.before, vocabulary.after)
    )
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


def _byte_level(vocabulary: Vocabulary) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    from ovrecipe.builtin.gguf_cuts import GPT2

    cut = vocabulary.cut
    bpe = models.BPE(vocabulary.ids, vocabulary.merges, ignore_merges=cut.ignore_merges)
    tokenizer = Tokenizer(bpe)
    if cut.nfc:
        tokenizer.normalizer = normalizers.NFC()
    # GPT-2's own pattern is built in.
    *patterns, last = cut.patterns
    is_gpt2 = last == GPT2
    splits: list[Any] = []
    if cut.digits:
        splits.append(pre_tokenizers.Digits(individual_digits=True))
    splits += [
        pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        for pattern in (patterns if is_gpt2 else cut.patterns)
    ]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=is_gpt2)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters]) if splits else letters
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(vocabulary: Vocabulary) -> Any:
    """Return SentencePiece's BPE as byte-fallback BPE with merges in the order of the scores."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    unknown = vocabulary.tokens[vocabulary.unknown or 0]
    merges = _merges_by_score(vocabulary)
    tokenizer = Tokenizer(
        models.BPE(vocabulary.ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    prefix = [normalizers.Prepend(SPACE)] if vocabulary.has_space_prefix else []
    tokenizer.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _merges_by_score(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return every way to join two tokens into a third, the best-scored third first."""
    ids = vocabulary.ids
    found: list[tuple[float, int, int, str, str]] = []
    for text, score in zip(vocabulary.tokens, vocabulary.scores, strict=True):
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                found.append((-score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(found)]


def _unigram(vocabulary: Vocabulary) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers

    scored = list(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=vocabulary.unknown, byte_fallback=False))
    parts: list[Any] = []
    if vocabulary.charsmap:
        parts.append(normalizers.Precompiled(vocabulary.charsmap))
    if vocabulary.merges_spaces:
        parts += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    if vocabulary.has_space_prefix:
        parts.append(normalizers.Prepend(SPACE))
    tokenizer.normalizer = normalizers.Sequence([*parts, normalizers.Replace(" ", SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if vocabulary.has_space_prefix else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.Fuse(), *strip])
    return tokenizer


def _wordpiece(vocabulary: Vocabulary) -> Any:
    """Return BERT's tokenizer; a GGUF file marks what begins a word, BERT what goes on with one."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = {}
    for text, id_ in vocabulary.ids.items():
        goes_on = id_ not in vocabulary.added and not text.startswith(SPACE)
        pieces[f"##{text}" if goes_on else text.removeprefix(SPACE)] = id_
    unknown = vocabulary.tokens[vocabulary.unknown or 0]
    model = models.WordPiece(pieces, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=vocabulary.lowercase, strip_accents=vocabulary.strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer


#: The algorithms, by the names in tokenizer.ggml.model.
MAKERS: Mapping[str, Callable[[Vocabulary], Any]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
    "t5": _unigram,
    "bert": _wordpiece,
}
