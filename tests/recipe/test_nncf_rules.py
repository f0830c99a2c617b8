"""What NNCF refuses is refused before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.nncf_rules import LOW_BIT_KNOBS
from ovrecipe.recipe.compression import BackupMode, CompressionPass, Mode, SensitivityMetric

if TYPE_CHECKING:
    from .conftest import Recipes

VALUES = {
    "group_size": "64",
    "ratio": "0.5",
    "backup_mode": "none",
    "sensitivity_metric": "weight_quantization_error",
    "group_size_fallback": "ignore",
    "dataset": "generated",
    "num_samples": "8",
}


@pytest.mark.parametrize("knob", LOW_BIT_KNOBS)
def test_int8_takes_no_low_bit_knob(variant: Callable[[str], str], knob: str) -> None:
    """NNCF's INT8 is per channel over all layers; it rejects or ignores the rest."""
    found = variant(f"int8: {{{knob}: {VALUES.get(knob, 'true')}}}")
    assert f"variants.int8.{knob}: int8 takes no {knob}" in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fp16: {sym: true}", "variants.fp16.sym: an fp16 variant is not compressed; remove it"),
        ("fp16: {passes: [{}]}", "variants.fp16.passes: an fp16 variant is not compressed"),
        ("int4: {sym: true, mode: int4_asym}", "int4.sym: contradicts 'mode: int4_asym'"),
        ("nf4: {sym: true}", "nf4.sym: nf4 is neither symmetric nor asymmetric"),
        ("mxfp4: {group_size: 64}", "mxfp4.group_size: mxfp4 has groups of 32, got 64"),
        ("nvfp4: {group_size: 32}", "nvfp4.group_size: nvfp4 has groups of 16, got 32"),
        ("mxfp4: {group_size_fallback: adjust}", "mxfp4 cannot adjust its groups of 32"),
        ("fp4: {awq: true}", "fp4.awq: NNCF has no awq for fp4"),
        ("int4: {gptq: true}", "int4.gptq: needs data; add 'dataset: generated'"),
        ("int4: {scale_estimation: true}", "int4.scale_estimation: needs data"),
        (
            "int4: {gptq: true, lora_correction: true, dataset: a.txt}",
            "int4.lora_correction: NNCF cannot do it together with gptq",
        ),
        ("int4: {dataset: generated}", "int4.dataset: would be read and not used"),
        ("int4: {num_samples: 3}", "int4.num_samples: counts samples of a 'dataset'"),
        (
            "int4: {ratio: 0.5, sensitivity_metric: hessian_input_activation}",
            "int4.sensitivity_metric: hessian_input_activation is measured on data",
        ),
        (
            "int4: {sensitivity_metric: weight_quantization_error}",
            "int4.sensitivity_metric: chooses what keeps more bits, but at ratio 1 nothing does",
        ),
        ("int4: {mode: int8_sym}", "int4.mode: gives int8_sym, but the precision is int4"),
        ("int4: {passes: [{mode: nf4}]}", "int4.passes: gives nf4, but the precision is int4"),
        ("int4: {options: {percdamp: 1}}", "int4.options.percdamp: nncf has no options"),
        ("int4: {passes: [{}], ratio: 0.5}", "int4.ratio: stands beside 'passes'"),
        ("int4: {passes: [{}, {gptq: true}]}", "int4.passes[1].gptq: needs data"),
    ],
)
def test_knobs_that_do_not_fit_are_refused(
    variant: Callable[[str], str], text: str, message: str
) -> None:
    """The reason is NNCF's, or that the knob would do nothing."""
    assert message in variant(text)


def test_every_problem_of_every_variant_has_its_place(recipes: Recipes) -> None:
    """As for what the file itself says wrongly: editors open it, and one run tells all."""
    text = "model: {id: a}\nvariants:\n  int8: {ratio: 0.5}\n  int4: {passes: [{}, {gptq: true}]}\n"
    int8, int4 = recipes.judged(text).splitlines()
    assert int8.startswith("recipes/r.yaml:3:10: variants.int8.ratio: int8 takes no ratio (NNCF")
    assert int4.startswith("recipes/r.yaml:4:24: variants.int4.passes[1].gptq: needs data; add")


def test_a_plugins_compressor_judges_its_own_knobs() -> None:
    """NNCF's rules are NNCF's; another compressor may well need no data for its gptq."""
    from ovrecipe.recipe.schema import Variant

    made = Variant.model_validate({"precision": "int4", "compressor": "mine", "gptq": True})
    assert made.gptq is True


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def literal(kind: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(kind.__args__)


PASSES = st.builds(
    CompressionPass,
    mode=literal(Mode),
    group_size=optional(st.sampled_from([-1, 16, 32, 64])),
    ratio=optional(st.sampled_from([0.5, 1.0])),
    all_layers=optional(st.booleans()),
    backup_mode=optional(literal(BackupMode)),
    group_size_fallback=optional(st.sampled_from(["error", "ignore", "adjust"])),
    sensitivity_metric=optional(literal(SensitivityMetric)),
    awq=optional(st.booleans()),
    scale_estimation=optional(st.booleans()),
    gptq=optional(st.booleans()),
    lora_correction=optional(st.booleans()),
    dataset=optional(st.just("generated")),
)


@pytest.mark.model
@settings(max_examples=400, deadline=None)
@given(compression=PASSES)
def test_nothing_passes_here_that_nncf_itself_refuses(compression: CompressionPass) -> None:
    """NNCF's own check decides; ours may refuse more, never less."""
    if nncf_accepts(compression):
        return
    assert list(NncfCompressor().objections(compression, "int4"))


def nncf_accepts(compression: CompressionPass) -> bool:
    import nncf
    from nncf.quantization.advanced_parameters import GroupSizeFallbackMode
    from nncf.quantization.algorithms.weight_compression.algorithm import (
        check_user_compression_configuration,
    )

    fallback = GroupSizeFallbackMode(compression.group_size_fallback or "error")
    metric, backup = compression.sensitivity_metric, compression.backup_mode
    try:
        check_user_compression_configuration(
            mode=nncf.CompressWeightsMode(compression.mode),
            subset_size=128,
            dataset=None if compression.dataset is None else nncf.Dataset(["x"]),
            ratio=compression.ratio,
            group_size=compression.group_size,
            all_layers=compression.all_layers,
            awq=compression.awq,
            scale_estimation=compression.scale_estimation,
            gptq=compression.gptq,
            lora_correction=compression.lora_correction,
            ignored_scope=None,
            sensitivity_metric=None if metric is None else nncf.SensitivityMetric(metric),
            backup_mode=None if backup is None else nncf.BackupMode(backup),
            compression_format=nncf.CompressionFormat.DQ,
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=fallback
            ),
        )
    except (nncf.ParameterNotSupportedError, nncf.ValidationError):
        return False
    return True


@pytest.mark.model
def test_every_mode_metric_and_backup_of_ours_is_nncfs() -> None:
    """The words are NNCF's own; a renamed one would fail after the export."""
    import nncf

    assert set(Mode.__args__) <= {member.value for member in nncf.CompressWeightsMode}
    assert set(SensitivityMetric.__args__) == {member.value for member in nncf.SensitivityMetric}
    assert set(BackupMode.__args__) == {member.value for member in nncf.BackupMode}
