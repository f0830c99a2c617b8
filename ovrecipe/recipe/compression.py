"""What a variant says about its weights: one precision, and the passes that reach it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints, field_validator, model_validator

from ovrecipe.recipe.generation import Generation
from ovrecipe.recipe.nncf_rules import LOW_BIT_KNOBS, nncf_objections
from ovrecipe.recipe.sections import FrozenDict, FrozenMapping, Listed, Objection, Section, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

Precision = Literal[
    "fp16", "int8", "int4", "nf4", "cb4", "mxfp4", "mxfp8_e4m3", "fp8_e4m3", "fp4", "nvfp4"
]
PRECISIONS: tuple[str, ...] = get_args(Precision)
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
#: The data set that the model writes itself.
GENERATED = "generated"

__all__ = ["LOW_BIT_KNOBS", "PRECISIONS", "CompressionPass", "IgnoredScope", "Variant"]


class IgnoredScope(Section):
    """Weights that keep their precision, by NNCF's own keys."""

    names: Listed[NonEmpty] = ()
    patterns: Listed[NonEmpty] = ()
    types: Listed[NonEmpty] = ()
    validate_: bool = Field(default=True, alias="validate")

    @field_validator("patterns")
    @classmethod
    def _patterns_are_regular_expressions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                re.compile(each)
            except re.error as error:
                raise ValueError(f"{each!r} is no regular expression: {error}") from error
        return value


class CompressionPass(Section):
    """One call of a compressor; the knobs carry NNCF's names and an unset one is NNCF's default.

    Source: nncf.compress_weights, NNCF 3.4.
    """

    compressor: NonEmpty = "nncf"
    options: FrozenMapping[str, Any] = Field(default_factory=FrozenDict)
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
            raise ValueError("must be -1 (one group per channel) or at least 1, got 0")
        return value

    @field_validator("dataset")
    @classmethod
    def _dataset_is_generated_or_a_text_file(cls, value: str | None) -> str | None:
        if value in (None, GENERATED) or Path(value or "").suffix in (".jsonl", ".txt"):
            return value
        raise ValueError(f"must be '{GENERATED}' or a .jsonl or .txt file, got '{value}'")

    def mode_for(self, precision: str) -> str:
        """Return the mode: the given one, or that of the precision (asymmetric unless `sym`)."""
        if self.mode is not None:
            return self.mode
        if precision in ("int8", "int4"):
            return f"{precision}_{'sym' if self.sym else 'asym'}"
        return precision

    def dataset_path(self, base_dir: Path) -> Path | None:
        """Return the user's data set; None when there is none or the model writes it."""
        if self.dataset in (None, GENERATED):
            return None
        return base_dir / Path(self.dataset or "").expanduser()


class Variant(CompressionPass):
    """One artifact of a recipe: `int4: {sym: true, group_size: 64, ratio: 0.6}`.

    Knobs written here are the only pass; a variant that needs several writes `passes`.
    """

    precision: Precision
    optional: bool = False
    passes: Listed[CompressionPass] = ()
    generation: Generation = Generation()

    @model_validator(mode="after")
    def _knobs_fit_the_precision(self) -> Variant:
        """Refuse what would be ignored, or rejected an hour later."""
        refuse(_objections(self))
        return self

    def compression_passes(self) -> tuple[CompressionPass, ...]:
        """Return the passes to run over the base IR, in order; none for fp16."""
        if self.precision == "fp16":
            return ()
        if self.passes:
            return self.passes
        names = CompressionPass.model_fields
        given = self.model_fields_set & set(names)
        knobs = {name: getattr(self, name) for name in names}
        return (CompressionPass.model_construct(given, **knobs),)


def _objections(variant: Variant) -> Iterator[Objection]:
    knobs = _given_knobs(variant)
    if variant.precision == "fp16":
        for name in (*knobs, *(["passes"] if variant.passes else [])):
            yield Objection((name,), "an fp16 variant is not compressed; remove it")
        return
    if variant.passes:
        for name in knobs:
            yield Objection((name,), "stands beside 'passes'; put it into one of them")
        for index, each in enumerate(variant.passes):
            yield from _pass_objections(each, variant.precision, ("passes", index))
    else:
        yield from _pass_objections(variant, variant.precision, ())
    yield from _reached_precision(variant)


def _given_knobs(variant: Variant) -> list[str]:
    """Return the knobs with a value; `null` says the same as leaving the key out."""
    return [
        name
        for name in CompressionPass.model_fields
        if name in variant.model_fields_set and getattr(variant, name) is not None
    ]


def _pass_objections(
    each: CompressionPass, precision: str, where: tuple[str | int, ...]
) -> Iterator[Objection]:
    if each.compressor != "nncf":
        return
    for objection in nncf_objections(each, precision):
        yield Objection((*where, *objection.keys), objection.reason)


def _reached_precision(variant: Variant) -> Iterator[Objection]:
    """Object to a variant that is called int4 and has no pass that makes it so."""
    passes = variant.passes or (variant,)
    if any(each.compressor != "nncf" for each in passes):
        return
    modes = [each.mode_for(variant.precision) for each in passes]
    if variant.precision not in [re.sub("_a?sym$", "", mode) for mode in modes]:
        where = ("passes",) if variant.passes else ("mode",)
        reason = f"gives {', '.join(modes)}, but the precision is {variant.precision}"
        yield Objection(where, reason)
