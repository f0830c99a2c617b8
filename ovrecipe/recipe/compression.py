"""What a variant says about its weights: one precision, and the passes that reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from ovrecipe.recipe.base import Section
from ovrecipe.recipe.generation import Generation

Precision = Literal[
    "fp16", "int8", "int4", "nf4", "cb4", "mxfp4", "mxfp8_e4m3", "fp8_e4m3", "fp4", "nvfp4"
]
PRECISIONS: tuple[str, ...] = (
    "fp16",
    "int8",
    "int4",
    "nf4",
    "cb4",
    "mxfp4",
    "mxfp8_e4m3",
    "fp8_e4m3",
    "fp4",
    "nvfp4",
)
BackupMode = Literal["none", "int8_sym", "int8_asym", "mxfp8_e4m3", "fp8_e4m3"]
SensitivityMetric = Literal[
    "weight_quantization_error",
    "hessian_input_activation",
    "mean_activation_variance",
    "max_activation_variance",
    "mean_activation_magnitude",
]
Mode = Literal[
    "int8_sym",
    "int8_asym",
    "int4_sym",
    "int4_asym",
    "nf4",
    "cb4",
    "mxfp4",
    "mxfp8_e4m3",
    "fp8_e4m3",
    "fp4",
    "nvfp4",
]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
#: Knobs that only mean something for a primary precision below 8 bits (NNCF rejects them in
#: its INT8 modes).
LOW_BIT_KNOBS = (
    "group_size",
    "ratio",
    "all_layers",
    "backup_mode",
    "awq",
    "scale_estimation",
    "gptq",
    "lora_correction",
    "sensitivity_metric",
    "group_size_fallback",
)


class IgnoredScope(Section):
    """Weights that keep their precision, by NNCF's own keys."""

    names: tuple[NonEmpty, ...] = ()
    patterns: tuple[NonEmpty, ...] = ()
    types: tuple[NonEmpty, ...] = ()
    validate_: bool = Field(default=True, alias="validate")


class CompressionPass(Section):
    """One call of a compressor; the knobs carry NNCF's names and an unset one is NNCF's default.

    Source: nncf.compress_weights, NNCF 3.4.
    """

    compressor: NonEmpty = "nncf"
    options: Mapping[str, Any] = Field(default_factory=dict)
    mode: Mode | None = None
    sym: bool | None = None
    group_size: Annotated[int, Field(ge=-1)] | None = None
    ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    all_layers: bool | None = None
    backup_mode: BackupMode | None = None
    ignored_scope: IgnoredScope | None = None
    group_size_fallback: Literal["error", "ignore", "adjust"] | None = None
    sensitivity_metric: SensitivityMetric | None = None
    awq: bool | None = None
    scale_estimation: bool | None = None
    gptq: bool | None = None
    lora_correction: bool | None = None
    dataset: NonEmpty | None = None
    num_samples: Annotated[int, Field(ge=1)] | None = None

    @field_validator("group_size")
    @classmethod
    def _group_size_is_minus_one_or_positive(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("must be -1 (one group per channel) or at least 1")
        return value


class Variant(CompressionPass):
    """One artifact of a recipe: `int4: {sym: true, group_size: 64, ratio: 0.6}`.

    Knobs written here are the only pass; a variant that needs several writes `passes`.
    """

    precision: Precision
    optional: bool = False
    passes: tuple[CompressionPass, ...] = ()
    generation: Generation = Generation()

    @model_validator(mode="after")
    def _knobs_fit_the_precision(self) -> Variant:
        """Refuse what would be ignored or rejected an hour later."""
        knobs = [name for name in CompressionPass.model_fields if name in self.model_fields_set]
        if self.passes and knobs:
            raise ValueError(f"{knobs[0]}: stands beside 'passes'; put it into one of them")
        if self.precision == "fp16" and (knobs or self.passes):
            culprit = knobs[0] if knobs else "passes"
            raise ValueError(f"{culprit}: an fp16 variant is not compressed; remove it")
        if self.precision == "int8":
            _refuse_low_bit_knobs(self)
        return self

    def compression_passes(self) -> tuple[CompressionPass, ...]:
        """Return the passes to run over the base IR, in order; none for fp16."""
        if self.precision == "fp16":
            return ()
        if self.passes:
            return self.passes
        knobs = {name: getattr(self, name) for name in CompressionPass.model_fields}
        return (CompressionPass.model_construct(**knobs),)


def _refuse_low_bit_knobs(variant: Variant) -> None:
    for each in (variant, *variant.passes):
        if each.compressor != "nncf" or (each.mode or "int8").startswith("int8") is False:
            continue
        for name in LOW_BIT_KNOBS:
            if name in each.model_fields_set:
                raise ValueError(f"{name}: int8 takes no {name}; it belongs to 4-bit variants")
