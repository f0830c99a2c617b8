"""What a recipe asks of a pass, compared with the IR that came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.requested import idle_scope, undone
from ovrecipe.builtin.stored import Stored, StoredWeight
from ovrecipe.errors import GateError
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.project import Project
from ovrecipe.recipe.sections import Objection
from tests.build.fake_plugin import net
from tests.build.making import FAKE_PLUGIN, do_up_to, fake_recipe, work_on, write_recipe

UP_PROJ = "__module.model.layers.0.up_proj/MatMul"
LAYERS = ("q_proj", "k_proj", "up_proj", "down_proj")


def weight(name: str, operation: str = "MatMul", dtype: str = "f16") -> StoredWeight:
    return StoredWeight(name, dtype, 4096, readers=((operation, f"__module.{name}/{operation}"),))


BASE = Stored(
    (
        weight("model.embed_tokens", "Gather"),
        *(weight(f"model.layers.0.{layer}") for layer in LAYERS),
        weight("lm_head"),
    ),
    adapters=0,
    nncf={},
)
INT4: dict[str, Any] = {"dtype": "u4", "group_size": 64, "channels": 128, "has_zero_point": True}
INT8: dict[str, Any] = {"dtype": "u8", "group_size": -1, "has_zero_point": True}
F16: dict[str, Any] = {"dtype": "f16"}


def compressed(*forms: dict[str, Any], adapters: int = 0, **nncf: str) -> Stored:
    """Return the base with its six weights in these forms."""
    pairs = zip(BASE.weights, forms, strict=True)
    return Stored(tuple(replace(one, **form) for one, form in pairs), adapters, nncf)


HONEST = compressed(INT8, INT4, INT4, INT4, INT4, INT8)
HALF = compressed(INT8, INT4, INT4, INT8, INT8, INT8)


def asked(
    after: Stored,
    precision: str = "int4",
    applied: Sequence[str] | None = None,
    before: Stored = BASE,
    **knobs: Any,
) -> dict[str, str]:
    """Return what was asked and not done: reasons by key."""
    compression = CompressionPass.model_validate(knobs)
    return by_key(undone(compression, precision, before, after, applied))


def by_key(objections: Iterator[Objection]) -> dict[str, str]:
    return {".".join(map(str, one.keys)): one.reason for one in objections}


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"sym": False, "group_size": 64, "ratio": 1.0},
        {"mode": "int4_asym", "backup_mode": "int8_asym"},
        {"ignored_scope": {"names": ["__module.lm_head/Add"], "validate": False}},
    ],
)
def test_what_was_done_is_not_objected_to(knobs: dict[str, Any]) -> None:
    """Honest settings must pass, whichever way they are written."""
    assert asked(HONEST, **knobs) == {}


@pytest.mark.parametrize("precision", ["int8", "int4", "nf4"])
def test_a_plain_copy_has_not_become_what_it_is_called(precision: str) -> None:
    """A plugin that writes what it read used to pass."""
    assert asked(BASE, precision) == {"": f"no weight became {precision}; the weights are f16 (6)"}


def test_int8_alone_is_no_int4() -> None:
    """What a plugin makes whose pattern matched nothing."""
    made = compressed(*[INT8] * 6)
    assert asked(made) == {"": "no weight became int4; the weights are u8 (6)"}
    assert asked(made, "int8") == {}


def test_a_copy_of_floats_is_an_fp16_variant_only_if_they_are_f16() -> None:
    """A base in bf16 that nobody converted would be loaded as something else."""
    assert asked(BASE, "fp16") == {}
    bf16 = compressed(*[{"dtype": "bf16"}] * 6)
    assert asked(bf16, "fp16") == {"": "no weight became fp16; the weights are bf16 (6)"}


def test_what_the_pass_before_made_does_not_count() -> None:
    """A second pass that matches nothing changes nothing."""
    reason = "no weight became int8; the weights are u8 (2), u4 (4)"
    assert asked(HONEST, before=HONEST, mode="int8_asym") == {"mode": reason}


@pytest.mark.parametrize(
    ("knobs", "key", "reason"),
    [
        ({"group_size": 32}, "group_size", "no int4 weight has groups of 32, but 64 (4)"),
        ({"group_size": -1}, "group_size", "no int4 weight has groups of -1, but 64 (4)"),
        ({"sym": True}, "sym", "4 int4 weights of 4 have zero points"),
        ({"mode": "int4_sym"}, "mode", "4 int4 weights of 4 have zero points"),
        ({"ratio": 0.5}, "ratio", "0.5 is asked for, and 1.000 of the weights are int4"),
        ({"backup_mode": "none"}, "backup_mode", "no weight is left at none: u8 (2)"),
        ({"backup_mode": "int8_sym"}, "backup_mode", "no weight is left at int8_sym: u8 (2)"),
        (
            {"all_layers": True},
            "all_layers",
            "neither the embedding nor the last layer is int4: u8 (2)",
        ),
        (
            {"ignored_scope": {"patterns": [".*up_proj.*"]}},
            "ignored_scope",
            "1 weight in it did not keep the precision, as "
            + UP_PROJ
            + ", which was f16 and is u4",
        ),
    ],
)
def test_a_knob_that_was_not_honoured_is_named(
    knobs: dict[str, Any], key: str, reason: str
) -> None:
    """Each with what is there instead."""
    assert asked(HONEST, **knobs) == {key: reason}


def test_zero_points_are_missed_where_they_are_asked_for() -> None:
    """The other way round."""
    symmetric = compressed(*[{**INT4, "dtype": "i4", "has_zero_point": False}] * 6)
    assert asked(symmetric, sym=False) == {"sym": "6 int4 weights of 6 have no zero point"}


def test_a_group_that_is_all_of_a_row_is_one_per_channel() -> None:
    """NNCF writes both ways."""
    whole = compressed(*[{**INT4, "group_size": 128}] * 6)
    assert asked(whole, group_size=-1) == {}


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.75])
def test_a_ratio_may_be_missed_by_the_weight_that_did_not_fit(ratio: float) -> None:
    """NNCF stops before the weight with which it would have too many."""
    assert asked(HALF, ratio=ratio) == {}


def test_a_ratio_that_is_far_off_is_named() -> None:
    reason = "0.8 is asked for, and 0.500 of the weights are int4"
    assert asked(HALF, ratio=0.8) == {"ratio": reason}
    assert asked(HALF, ratio=0.8, group_size_fallback="ignore") == {}


def test_a_backup_that_nothing_is_left_for_is_named() -> None:
    everything = compressed(*[INT4] * 6)
    reason = "no weight is left at int8_asym: all of them became int4"
    assert asked(everything, backup_mode="int8_asym", all_layers=True) == {"backup_mode": reason}


@pytest.mark.parametrize("method", ["awq", "scale_estimation", "gptq"])
def test_a_method_must_be_noted_in_the_ir_or_said_by_the_compressor(method: str) -> None:
    """A plugin that ignores it writes the same precision as one that does not."""
    knobs = {method: True}
    assert method in asked(HONEST, **knobs)
    assert asked(replace(HONEST, nncf={method: "True"}), **knobs) == {}
    ignored = replace(HONEST, nncf={method: "False"})
    assert asked(ignored, **knobs) == {method: "is not what NNCF was called with: False"}
    assert asked(HONEST, applied=[method], **knobs) == {}


def test_a_method_that_the_compressor_saw_match_nothing_is_named() -> None:
    """NNCF notes that it was called with AWQ, also when no layer matched."""
    noted = replace(HONEST, nncf={"awq": "True"})
    reason = "matched nothing in this model and changed nothing"
    assert asked(noted, applied=[], awq=True) == {"awq": reason}


def test_lora_correction_needs_adapters_in_the_graph() -> None:
    noted = replace(HONEST, nncf={"lora_correction": "True"})
    assert asked(noted, lora_correction=True) == {"lora_correction": "the IR has no adapters"}
    assert asked(replace(noted, adapters=8), lora_correction=True) == {}


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"patterns": [".*up_proj.*", ".*ffn.*"]}, "ignored_scope.patterns.1"),
        ({"names": ["__module.lm_head/Add"]}, "ignored_scope.names.0"),
        ({"types": ["Convolution"]}, "ignored_scope.types.0"),
    ],
)
def test_an_ignored_scope_that_keeps_no_weight_is_named(scope: dict[str, Any], key: str) -> None:
    """NNCF is content with any operation of that name, also one without weights."""
    compression = CompressionPass.model_validate({"ignored_scope": scope})
    assert list(by_key(idle_scope(compression, BASE))) == [key]
    unchecked = {"ignored_scope": {**scope, "validate": False}}
    assert not list(idle_scope(CompressionPass.model_validate(unchecked), BASE))


#: Calls itself INT4 and writes INT8.
LIAR = """
from ovrecipe import hookimpl

class Liar:
    def compress(self, job):
        (job.output_dir / "openvino_model.xml").write_text(XML)
        (job.output_dir / "openvino_model.bin").write_bytes(b"weights")

@hookimpl
def providers():
    return {"compressor": {"liar": Liar}}
"""


@pytest.mark.slow
def test_weights_that_are_not_what_was_asked_for_are_not_published(project: Project) -> None:
    """The place in the recipe, what there is instead, and the exit code of a gate."""
    plugin = project.root / "liar.py"
    plugin.write_text(LIAR.replace("XML", repr(net("int8", 64))))
    write_recipe(project, "m", fake_recipe(variants={"int4": {"compressor": "liar"}}))
    context = BuildContext(project, plugin_options=(FAKE_PLUGIN, str(plugin)))
    expected = r"m:int4: variants\.int4: no weight became int4; the weights are u8 \(1\)"
    with pytest.raises(GateError, match=expected):
        do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert not work_on(context, "m", "weights", "int4").is_done()


@pytest.mark.slow
def test_the_manifest_has_the_share_of_each_precision(project: Project) -> None:
    """For `ovrecipe report`: by precision, and by kind of layer."""
    write_recipe(project, "m", fake_recipe())
    context = BuildContext(project, plugin_options=(FAKE_PLUGIN,))
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    key = work_on(context, "m", "weights", "int4").key()
    assert key is not None
    facts = context.store.manifest(key).facts
    u4 = {"share": 1.0, "weights": 1, "group_sizes": {"64": 1}, "sym": True}
    assert facts["precisions"] == {"u4": u4}
    assert facts["kinds"] == {"proj": {"u4": 1.0}}
