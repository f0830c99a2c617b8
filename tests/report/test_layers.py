"""Which precision each layer has is read from the weights themselves."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from ovrecipe.builtin.ir import layer_weights


def model_of(**constants: type) -> ov.Model:
    """Return a model of constants by name, `__` for a dot."""
    results = []
    for name, dtype in constants.items():
        constant = ov.op.Constant(np.ones((32, 64), dtype))
        constant.set_friendly_name(name.replace("__", "."))
        results.append(ov.opset13.result(constant))
    return ov.Model(results, [])


@pytest.mark.parametrize("prefix", ["model__layers", "transformer__h", "gpt_neox__layers", "blk"])
def test_layers_are_in_the_order_of_their_numbers(prefix: str) -> None:
    """Exporters keep the checkpoint's names, and architectures differ in them."""
    first, second, third = (f"{prefix}__{number}__weight" for number in (10, 0, 2))
    embedding = {"model__embed_tokens__weight": np.int8}
    model = model_of(**{first: np.uint8, "lm_head": np.float16, second: np.uint8},
                     **embedding, **{third: np.uint8})  # fmt: skip
    assert list(layer_weights(model).items()) == [
        ("embedding", {"i8": 2048}),
        ("0", {"u8": 2048}),
        ("2", {"u8": 2048}),
        ("10", {"u8": 2048}),
        ("other", {"f16": 2048}),
    ]


def test_a_layer_can_have_several_precisions() -> None:
    """With a ratio below 1 the sensitive matrices keep more bits."""
    model = model_of(layers__0__up__weight=np.uint8, layers__0__down__weight=np.float16)
    assert layer_weights(model) == {"0": {"u8": 2048, "f16": 2048}}


def test_experts_belong_to_their_layer() -> None:
    """A mixture of experts has two numbers in a name; the first is the layer's."""
    assert list(layer_weights(model_of(layers__3__experts__7__weight=np.uint8))) == ["3"]
