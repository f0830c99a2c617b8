"""The OpenVINO pair: what openvino_tokenizers makes of a SentencePiece model, made whole.

Its graphs lack what GenAI switches while they run, for GenAI looks for other operations when it
puts the switches in. They are put in here under the names that GenAI sets: `add_special_tokens`
for what stands before and behind a text, `skip_special_tokens` for what is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ovrecipe.errors import StageError
from ovrecipe_sentencepiece.prefix import prefix_pattern, takes_prefix_off, with_prefix

#: The kind of a piece that stands for no text, as sentencepiece_model.proto numbers it.
CONTROL = 3
SPACE_BYTE, SPACE_MARK = "<0x20>", "▁"
HIDDEN_PIECE = "<hidden special token>"


def converted_pair(tokenizer: Any) -> tuple[Any, Any]:
    """Return the tokenizer and the detokenizer as OpenVINO models.

    Raises:
        StageError: openvino_tokenizers cannot convert it, or would convert something else.
    """
    encoder, decoder = _converted(tokenizer)
    _put_prefix(encoder, tokenizer)
    return _with_special_tokens(encoder, tokenizer), _with_hidden_tokens(decoder, tokenizer)


def _converted(tokenizer: Any) -> tuple[Any, Any]:
    from openvino_tokenizers import convert_tokenizer

    try:
        encoder, decoder = convert_tokenizer(
            tokenizer,
            with_detokenizer=True,
            use_sentencepiece_backend=True,
            handle_special_tokens_with_re=True,
            add_special_tokens=False,
            skip_special_tokens=False,
            clean_up_tokenization_spaces=False,
        )
    except Exception as exc:  # every parser and every OpenVINO operation fails in its own way
        raise StageError(
            f"openvino_tokenizers cannot convert {type(tokenizer).__name__}: {exc}",
            remedy="leave tokenizer.converter out of the recipe to use the built-in converter",
        ) from exc
    _node(encoder, "SentencepieceTokenizer")
    _node(decoder, "SentencepieceDetokenizer")
    return encoder, decoder


def _node(model: Any, kind: str) -> Any:
    found = next((node for node in model.get_ops() if node.get_type_name() == kind), None)
    if found is None:
        raise StageError(
            f"openvino_tokenizers did not use SentencePiece: its graph has no {kind}",
            remedy="install the versions of constraints.txt, or use the built-in converter",
        )
    return found


def _put_prefix(encoder: Any, tokenizer: Any) -> None:
    """Put a space before the text as tokenizer.json does, where SentencePiece does otherwise."""
    node = _node(encoder, "SentencepieceTokenizer")
    pieces = _pieces(_content(node))
    pattern = prefix_pattern(tokenizer)
    # A model that removes white space would remove the space that was put there.
    if pattern is None or pieces.normalizer_spec.remove_extra_whitespaces:
        return
    pieces.normalizer_spec.add_dummy_prefix = False
    node.input(1).replace_source_output(with_prefix(node.input_value(1), pattern))
    _set_content(node, pieces.SerializeToString())


def _with_special_tokens(encoder: Any, tokenizer: Any) -> Any:
    """Add the tokens around a text where the graph is told to."""
    from openvino import Model

    ids, mask = (
        encoder.output(name).node.input_value(0) for name in ("input_ids", "attention_mask")
    )
    before, behind = _around(tokenizer)
    switch, sink = _switch("add_special_tokens")
    for token in reversed(before):
        ids, mask = _put_before(ids, mask, token, switch)
    for token in behind:
        ids, mask = _put_behind(ids, mask, token, switch)
    named = [_named(ids, "input_ids"), _named(mask, "attention_mask")]
    sinks = [sink] if before or behind else []  # a switch of nothing cannot be compiled
    made = Model(named, sinks, encoder.get_parameters(), encoder.get_friendly_name())
    return _described_as(encoder, made)


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the ids that the tokenizer puts before and behind a text."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a", add_special_tokens=True)
    starts = range(len(whole) - len(bare) + 1)
    start = next((n for n in starts if whole[n : n + len(bare)] == bare), None)
    if start is None:
        raise StageError("the tokenizer changes a text when it adds special tokens to it")
    return whole[:start], whole[start + len(bare) :]


def _switch(name: str) -> tuple[Any, Any]:
    """Return a boolean that GenAI sets by its name, on unless it does."""
    from openvino import Shape, Type
    from openvino import opset13 as ops

    value = ops.read_value(ops.constant(True), name, Type.boolean, Shape([]))
    return value, ops.assign(value, name)


def _put_before(ids: Any, mask: Any, token: int, switch: Any) -> tuple[Any, Any]:
    """Put a token before the first of each row; rows are filled up on their left."""
    from openvino import opset13 as ops

    column = _column(ids, ops.constant([0], dtype="int64"), switch)
    none = _column(mask, ops.constant([0], dtype="int64"), switch)
    wide_ids, wide_mask = ops.concat([column, ids], 1), ops.concat([none, mask], 1)
    width = ops.gather(ops.shape_of(wide_ids), ops.constant(1), ops.constant(0))
    places = ops.range(ops.constant(0, dtype="int64"), width, ops.constant(1, dtype="int64"), "i64")
    taken = ops.reduce_sum(wide_mask, ops.constant([1]), keep_dims=True)
    first = ops.subtract(ops.subtract(width, taken), ops.constant(1, dtype="int64"))
    here = ops.logical_and(ops.equal(places, first), switch)
    return (
        ops.select(here, ops.constant(token, dtype="int64"), wide_ids),
        ops.select(here, ops.constant(1, dtype="int64"), wide_mask),
    )


def _put_behind(ids: Any, mask: Any, token: int, switch: Any) -> tuple[Any, Any]:
    """Put a token behind the last of each row, where all rows end."""
    from openvino import opset13 as ops

    column = _column(ids, ops.constant([token], dtype="int64"), switch)
    one = _column(mask, ops.constant([1], dtype="int64"), switch)
    return ops.concat([ids, column], 1), ops.concat([mask, one], 1)


def _column(like: Any, value: Any, switch: Any) -> Any:
    """Return a column of one value, as high as a matrix; of no width when switched off."""
    from openvino import opset13 as ops

    rows = ops.gather(ops.shape_of(like), ops.constant([0]), ops.constant(0))
    width = ops.unsqueeze(ops.convert(switch, "i64"), ops.constant(0))
    return ops.broadcast(value, ops.concat([rows, width], 0))


def _named(output: Any, name: str) -> Any:
    from openvino import opset13 as ops

    result = ops.result(output)
    result.output(0).tensor.set_names({name})
    return result


def _with_hidden_tokens(decoder: Any, tokenizer: Any) -> Any:
    """Let special tokens vanish where the graph is told to, and be spelt out otherwise."""
    from openvino import Model
    from openvino import opset13 as ops

    node = _node(decoder, "SentencepieceDetokenizer")
    pieces = _pieces(_content(node))
    pieces.normalizer_spec.add_dummy_prefix = takes_prefix_off(tokenizer)
    pieces.normalizer_spec.remove_extra_whitespaces = False  # takes off more than that one space
    hidden = len(pieces.pieces)
    table, shown = _tables(pieces, _special_ids(tokenizer), hidden)
    switch, sink = _switch("skip_special_tokens")
    chosen = ops.select(switch, ops.constant(table), ops.constant(shown))
    ids = ops.gather(chosen, node.input_value(1), ops.constant(0))
    node.input(1).replace_source_output(ids.output(0))
    _set_content(node, _with_hidden_piece(pieces))
    results, parameters = decoder.get_results(), decoder.get_parameters()
    made = Model(results, [sink], parameters, decoder.get_friendly_name())
    return _described_as(decoder, made)


def _special_ids(tokenizer: Any) -> list[int]:
    added = tokenizer.added_tokens_decoder
    return [number for number, token in added.items() if token.special]


def _tables(pieces: Any, special: Sequence[int], hidden: int) -> tuple[Any, Any]:
    """Return which id is decoded for each, with special tokens hidden and shown.

    A space that came as a byte is decoded as the mark for a space: either is taken off at the
    beginning of a text.
    """
    import numpy as np

    shown = np.arange(hidden + 1, dtype=np.int32)
    by_text = {piece.piece: number for number, piece in enumerate(pieces.pieces)}
    if SPACE_BYTE in by_text and SPACE_MARK in by_text:
        shown[by_text[SPACE_BYTE]] = by_text[SPACE_MARK]
    skipped = shown.copy()
    skipped[[number for number in special if number < hidden]] = hidden
    return skipped, shown


def _content(node: Any) -> bytes:
    """Return the SentencePiece model within an operation."""
    content: bytes = node.input_value(0).node.data.tobytes()
    return content


def _set_content(node: Any, content: bytes) -> None:
    import numpy as np
    from openvino import opset13 as ops

    constant = ops.constant(np.frombuffer(content, dtype=np.uint8))
    node.input(0).replace_source_output(constant.output(0))


def _pieces(content: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(content)


def _with_hidden_piece(pieces: Any) -> bytes:
    """Return the model with one more piece, which is decoded to nothing."""
    pieces.pieces.add(piece=HIDDEN_PIECE, score=0.0, type=CONTROL)
    content: bytes = pieces.SerializeToString()
    return content


def _described_as(original: Any, made: Any) -> Any:
    """Copy what other programs read from the graph: special tokens, template, versions."""
    for key, value in original.get_rt_info().items():
        made.set_rt_info(value, key)
    for switched_while_it_runs in ("add_special_tokens", "skip_special_tokens"):
        made.set_rt_info("True", switched_while_it_runs)
    return made
