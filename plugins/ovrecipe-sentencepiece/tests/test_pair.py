"""The pair does what the checkpoint's tokenizer does, and what SentencePiece does."""

from __future__ import annotations

import numpy as np
import openvino_genai
import pytest
import sentencepiece
from openvino import Core

from tests.checkpoints import TEXT, gemma, metaspace, model_only, prepending

KINDS = {
    "tokenizer.model alone": model_only,
    "prepend": prepending,
    "metaspace first": lambda folder: metaspace(folder, "first"),
    "metaspace always": lambda folder: metaspace(folder, "always"),
    "metaspace never": lambda folder: metaspace(folder, "never"),
    "gemma": gemma,
}


def ids_of(pair: openvino_genai.Tokenizer, text: str, **options: bool) -> list[int]:
    return [int(token) for token in pair.encode(text, **options).input_ids.data[0]]


def test_the_graph_runs_sentencepiece(tmp_path, convert) -> None:
    """With transformers 5 openvino_tokenizers silently converts tokenizer.json instead."""
    import openvino_tokenizers  # noqa: F401 - teaches the core the operations

    output_dir = convert(prepending(tmp_path / "checkpoint"))
    for name in ("tokenizer", "detokenizer"):
        model = Core().read_model(output_dir / f"openvino_{name}.xml")
        kinds = {node.get_type_name() for node in model.get_ops()}
        assert f"Sentencepiece{name.capitalize()}" in kinds


@pytest.mark.parametrize("kind", ["prepend", "tokenizer.model alone"])
def test_ids_are_those_of_sentencepiece_itself(tmp_path, convert, kind) -> None:
    """The library that trained the model is the judge."""
    checkpoint_dir = KINDS[kind](tmp_path / "checkpoint")
    judge = sentencepiece.SentencePieceProcessor(model_file=str(checkpoint_dir / "tokenizer.model"))
    pair = openvino_genai.Tokenizer(convert(checkpoint_dir))
    for line in [*set(TEXT.splitlines()), "a  b", "🙂", "\ttab", "é \u00a0 ü"]:
        ids = ids_of(pair, line, add_special_tokens=False)
        assert ids == judge.encode(line)
        assert pair.decode(ids) == judge.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_switched_while_it_runs(tmp_path, convert, kind) -> None:
    """openvino_tokenizers' own SentencePiece graphs ignore both switches."""
    pair = openvino_genai.Tokenizer(convert(KINDS[kind](tmp_path / "checkpoint")))
    bare = ids_of(pair, "a model", add_special_tokens=False)
    assert ids_of(pair, "a model") == [1, *bare]
    assert ids_of(pair, "a model", add_special_tokens=False) == bare
    ended = [1, *bare, 2]
    assert pair.decode(ended).strip() == "a model"
    assert pair.decode(ended, skip_special_tokens=False).startswith("<s>")
    assert pair.decode(ended, skip_special_tokens=False).endswith("a model</s>")
    assert pair.decode(ended).strip() == "a model"


def test_special_tokens_within_a_text_are_one_token_each(tmp_path, convert) -> None:
    """SentencePiece itself would spell <s> letter by letter."""
    pair = openvino_genai.Tokenizer(convert(gemma(tmp_path / "checkpoint")))
    assert ids_of(pair, "<start_of_turn>", add_special_tokens=False) == [420]
    ids = ids_of(pair, "a<end_of_turn>b</s>", add_special_tokens=False)
    assert ids[1] == 421
    assert ids[-1] == 2


def test_a_batch_is_filled_up_on_the_left(tmp_path, convert) -> None:
    """Prompts must end together; BOS stands where the text begins."""
    pair = openvino_genai.Tokenizer(convert(prepending(tmp_path / "checkpoint")))
    inputs = pair.encode(["a model", "a", ""])
    mask = np.array(inputs.attention_mask.data)
    ids = np.array(inputs.input_ids.data)
    lengths = [len(ids_of(pair, text)) for text in ("a model", "a", "")]
    assert mask.sum(axis=1).tolist() == lengths
    for row, length in enumerate(lengths):
        assert mask[row, -length:].all()
        assert ids[row, -length] == 1


@pytest.mark.parametrize("around", ["$A </s>", "<s> $A </s>", "<s> <unk> $A", "$A"])
def test_any_tokens_around_a_text_are_put_there(tmp_path, convert, around) -> None:
    """What a checkpoint's post-processor says, for each row of a batch."""
    pair = openvino_genai.Tokenizer(convert(prepending(tmp_path / "checkpoint", around)))
    numbers = {"<unk>": 0, "<s>": 1, "</s>": 2}
    before, _, behind = around.partition("$A")
    bare = ids_of(pair, "a", add_special_tokens=False)
    whole = [*map(numbers.get, before.split()), *bare, *map(numbers.get, behind.split())]
    assert ids_of(pair, "a") == whole
    inputs = pair.encode(["a model of a model", "a"])
    assert [int(token) for token in inputs.input_ids.data[1]][-len(whole) :] == whole


def test_genai_finds_the_special_tokens(tmp_path, convert) -> None:
    """They are in the graph's rt_info, as the built-in converter leaves them."""
    pair = openvino_genai.Tokenizer(convert(prepending(tmp_path / "checkpoint")))
    assert (pair.get_bos_token(), pair.get_eos_token()) == ("<s>", "</s>")
    assert (pair.get_bos_token_id(), pair.get_eos_token_id()) == (1, 2)


def test_an_answer_that_stops_within_a_character_can_be_streamed(tmp_path, convert) -> None:
    """Bytes of an unfinished character are no text yet."""
    pair = openvino_genai.Tokenizer(convert(prepending(tmp_path / "checkpoint")))
    ids = ids_of(pair, "ok 🙂", add_special_tokens=False)
    assert pair.decode(ids) == "ok 🙂"
    assert pair.decode(ids[:-1]).startswith("ok \ufffd")
