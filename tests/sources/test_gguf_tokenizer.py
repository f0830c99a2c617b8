"""Vocabularies of every kind become tokenizers that read as the model's own, and as llama.cpp."""

from __future__ import annotations

import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin.gguf_cuts import CUTS
from ovrecipe.builtin.gguf_file import GgufFile
from ovrecipe.builtin.gguf_reading import Reading, check_tokenizer
from ovrecipe.builtin.gguf_tokenizer import tokenizer_of
from ovrecipe.builtin.gguf_vocabulary import Vocabulary, vocabulary_of
from ovrecipe.conformance.corpus import PLAIN_TEXTS
from ovrecipe.errors import CheckpointIncomplete, GateError
from tests.sources.gguf_writing import byte_level_tokens, sentencepiece_tokens, write_vocabulary
from tests.twins import TRAINING_TEXT, trained_sentencepiece

#: llama.cpp ends a text at a zero byte.
TEXTS = tuple(text for text in PLAIN_TEXTS if "\0" not in text)


def read(path: Path, base: dict[str, Any], **changes: Any) -> Vocabulary:
    """Write a vocabulary into a file and read it; changes are keys of tokenizer.ggml."""
    said = {f"tokenizer.ggml.{name.replace('__', '.')}": value for name, value in changes.items()}
    return vocabulary_of(GgufFile(write_vocabulary(path / "v.gguf", {**base, **said})))


@pytest.fixture(scope="module")
def crossing_tokens(tmp_path_factory) -> dict[str, Any]:
    """A byte-level vocabulary whose merges cross every place where a text may be cut."""
    return byte_level_tokens(tmp_path_factory.mktemp("bytes"), pre="gpt-2", texts=TEXTS)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory) -> dict[str, Any]:
    return sentencepiece_tokens(trained_sentencepiece(tmp_path_factory.mktemp("spm")))


@pytest.mark.parametrize("pre", CUTS)
def test_each_pre_tokenizer_is_read_twice_alike(tmp_path, crossing_tokens, pre) -> None:
    """Two programs, two engines of regular expressions, one table."""
    vocabulary = read(tmp_path, crossing_tokens, pre=pre)
    tokenizer, reading = tokenizer_of(vocabulary), Reading(vocabulary)
    for text in TEXTS:
        assert tokenizer.encode(text).ids == reading.ids(text), text


@pytest.mark.parametrize("pre", CUTS)
def test_each_pre_tokenizer_is_llama_cpps(tmp_path, crossing_tokens, pre) -> None:
    """The table itself is what llama.cpp means, but where it says that it only comes near."""
    llama_cpp = pytest.importorskip("llama_cpp")
    vocabulary = read(tmp_path, crossing_tokens, pre=pre)
    theirs = llama_cpp.Llama(str(tmp_path / "v.gguf"), vocab_only=True, verbose=False)
    tokenizer = tokenizer_of(vocabulary)
    for text in filter(partial(is_followed, pre), filter(None, TEXTS)):
        ids = theirs.tokenize(text.encode(), add_bos=True, special=True)
        assert tokenizer.encode(text).ids == ids, text
    theirs.close()


def is_followed(pre: str, text: str) -> bool:
    """Say whether llama.cpp reads a text as the model's own tokenizer.

    It never composes characters, has no marks in the words of Tekken and o200k, and takes spaces
    beyond ASCII out of the range of ideographs of the first DeepSeeks. Where it has the patterns of
    two models as they are, it does not tell large letters from small ones.
    """
    if pre in ("tiny_aya", "cohere2moe", "youtu") and text != text.lower():
        return False
    kinds = {unicodedata.category(letter) for letter in text}
    if "Ll}" in "".join(CUTS[pre].patterns):
        return not {"Mn", "Mc"} & kinds
    if pre in ("deepseek-coder", "deepseek-llm"):
        return not {"Zs", "Zl"} & {unicodedata.category(x) for x in text if not x.isascii()}
    return not CUTS[pre].nfc or unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_scores_decide(tmp_path, pieces, prefix) -> None:
    """Llama 2 puts a space before texts, Gemma does not; a word with its space is one token."""
    vocabulary = read(tmp_path, pieces, add_space_prefix=prefix)
    tokenizer, reading = tokenizer_of(vocabulary), Reading(vocabulary)
    for text in (*TEXTS, "the capital of France</s>and<s> more"):
        assert tokenizer.encode(text).ids == reading.ids(text), text
    word = max((t for t in vocabulary.tokens if t.startswith("▁")), key=len)
    found = tokenizer.encode(f"x{word.replace('▁', ' ')}", add_special_tokens=False).tokens
    assert found[-1] == word
    assert found[0].startswith("▁") is prefix
    assert tokenizer.decode(tokenizer.encode(" a  b").ids) == " a  b"


def test_llama_cpp_reads_sentencepiece_alike(tmp_path, pieces) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    for prefix in (True, False):
        tokenizer = tokenizer_of(read(tmp_path, pieces, add_space_prefix=prefix))
        theirs = llama_cpp.Llama(str(tmp_path / "v.gguf"), vocab_only=True, verbose=False)
        for text in filter(None, (*TEXTS, "a</s>b <s> c")):
            ids = theirs.tokenize(text.encode(), add_bos=True, special=True)
            assert tokenizer.encode(text).ids == ids, text
        theirs.close()


def test_runs_of_spaces_are_tokens_where_the_file_says_so(tmp_path, pieces) -> None:
    """Gemma has user-defined tokens of many spaces; a converter writes them with real ones."""
    count = len(pieces["tokenizer.ggml.tokens"])
    vocabulary = read(
        tmp_path,
        pieces,
        tokens=[*pieces["tokenizer.ggml.tokens"], "  ", "    "],
        scores=[*pieces["tokenizer.ggml.scores"], -1000.0, -1000.0],
        token_type=[*pieces["tokenizer.ggml.token_type"], 4, 4],
        add_space_prefix=False,
        add_bos_token=False,
    )
    tokenizer = tokenizer_of(vocabulary)
    check_tokenizer("v", vocabulary, tokenizer)
    assert tokenizer.encode("      ").ids == [count + 1, count]


def test_texts_end_as_the_file_says(tmp_path, pieces) -> None:
    """A tokenizer that ends texts with EOS makes a chat model end its answer at once."""
    ends = {"add_bos_token": False, "add_eos_token": True}
    ids = tokenizer_of(read(tmp_path, pieces, **ends)).encode("a").ids
    assert ids[-1] == pieces["tokenizer.ggml.eos_token_id"]
    assert ids[0] != pieces["tokenizer.ggml.bos_token_id"]


def test_phi3s_markers_swallow_what_follows(tmp_path, pieces) -> None:
    """No metadata says so; llama.cpp knows it by the model's name, and so did its tokenizer."""
    count = len(pieces["tokenizer.ggml.tokens"])
    more = {
        "tokens": [*pieces["tokenizer.ggml.tokens"], "<|user|>"],
        "scores": [*pieces["tokenizer.ggml.scores"], 0.0],
        "token_type": [*pieces["tokenizer.ggml.token_type"], 3],
    }
    named = {**pieces, "general.name": "Phi-3 mini 4k instruct"}
    one, other = read(tmp_path, named, **more), read(tmp_path, pieces, **more)
    assert tokenizer_of(one).encode("<|user|>\na").ids == tokenizer_of(one).encode("<|user|>a").ids
    assert len(tokenizer_of(other).encode("<|user|>\na").ids) > 3
    check_tokenizer("v", one, tokenizer_of(one))
    assert Reading(one).ids("<|user|>\na")[1] == count


@pytest.fixture(scope="module")
def unigram_path(tmp_path_factory) -> Path:
    """A SentencePiece Unigram model as T5 has one: NFKC, one space at a time."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING_TEXT.splitlines()),
        model_writer=model,
        model_type="unigram",
        vocab_size=200,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("unigram") / "spiece.model"
    path.write_bytes(model.getvalue())
    return path


def test_unigram_is_sentencepieces(tmp_path, unigram_path) -> None:
    """The best sum of scores, after the model's own table of characters."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(unigram_path.read_bytes())
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(unigram_path))
    tokens = {
        **sentencepiece_tokens(unigram_path),
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.bos_token_id": None,
        "tokenizer.ggml.precompiled_charsmap": list(proto.normalizer_spec.precompiled_charsmap),
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.add_eos_token": True,
    }
    vocabulary = read(tmp_path, tokens)
    tokenizer = tokenizer_of(vocabulary)
    check_tokenizer("v", vocabulary, tokenizer)
    for text in filter(is_plain, TEXTS):
        assert tokenizer.encode(text).ids == [*theirs.encode(text), 1], text


def is_plain(text: str) -> bool:
    """Say whether SentencePiece's own trimming and `tokenizers`' graphemes do not matter."""
    return text == text.strip() and text.isascii() and text.isprintable()


@pytest.mark.parametrize("called", ["bos", "cls"])
def test_wordpiece_is_berts(tmp_path, called) -> None:
    """A GGUF file marks the beginnings of words, BERT what goes on with one."""
    from tokenizers import BertWordPieceTokenizer

    original = BertWordPieceTokenizer(lowercase=True)
    original.train_from_iterator([TRAINING_TEXT], vocab_size=300, show_progress=False)
    texts = [text for text, _ in sorted(original.get_vocab().items(), key=lambda entry: entry[1])]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

    def marked(text: str) -> str:
        if text in special:
            return text
        return text.removeprefix("##") if text.startswith("##") else f"▁{text}"

    ids = {text: number for number, text in enumerate(texts)}
    tokens = {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": [marked(text) for text in texts],
        "tokenizer.ggml.token_type": [3 if text in special else 1 for text in texts],
        "tokenizer.ggml.unknown_token_id": ids["[UNK]"],
        f"tokenizer.ggml.{called}_token_id": ids["[CLS]"],
        "tokenizer.ggml.seperator_token_id": ids["[SEP]"],
    }
    vocabulary = read(tmp_path, tokens)
    tokenizer = tokenizer_of(vocabulary)
    check_tokenizer("v", vocabulary, tokenizer)
    for text in TEXTS:
        expected = original.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text).ids == [ids["[CLS]"], *expected, ids["[SEP]"]], text


def test_a_tokenizer_that_reads_otherwise_is_refused(tmp_path, crossing_tokens) -> None:
    """Digits one by one, and words of three: nothing else would notice."""
    one, other = (read(tmp_path, crossing_tokens, pre=pre) for pre in ("qwen2", "stablelm2"))
    check_tokenizer("m.gguf", one, tokenizer_of(one))
    with pytest.raises(GateError, match=r"m.gguf: the tokenizer .* and by llama.cpp's rules it is"):
        check_tokenizer("m.gguf", one, tokenizer_of(other))


def test_a_token_twice_and_a_token_without_text(tmp_path, pieces) -> None:
    """Two ids for one text cannot both be found; no text is found nowhere, and keeps its id."""
    texts = pieces["tokenizer.ggml.tokens"]
    vocabulary = read(tmp_path, pieces, tokens=[*texts[:-1], ""])
    assert vocabulary.tokens[-1] == f"[EMPTY_{len(texts) - 1}]"
    with pytest.raises(CheckpointIncomplete, match=r"its vocabulary has the token '<unk>' twice"):
        read(tmp_path, pieces, tokens=[*texts[:-1], "<unk>"])
