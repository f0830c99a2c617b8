"""One pass of a compressor: the knobs of a variant, by NNCF's names."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field

from ovrecipe.recipe.sections import Listed, Mapped, Section, Text, key

_Format = Literal["nf4", "cb4", "mxfp4", "mxfp8_e4m3", "fp8_e4m3", "fp4", "nvfp4"]
Precision = Literal["fp16", "int8", "int4", _Format]
Mode = Literal["int8_sym", "int8_asym", "int4_sym", "int4_asym", _Format]
PRECISIONS: tuple[str, ...] = get_args(Precision)
BackupMode = Literal["none", "int8_sym", "int8_asym", "mxfp8_e4m3", "fp8_e4m3"]
SensitivityMetric = Literal[
    "weight_quantization_error", "hessian_input_activation", "mean_activation_variance",
    "max_activation_variance", "mean_activation_magnitude",
]  # fmt: skip
#: The data set that the model writes itself.
GENERATED = "generated"


def _compilable(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def _not_zero(size: int) -> int:
    if size == 0:
        raise ValueError("must be -1 (one group per channel) or at least 1, got 0")
    return size


def _generated_or_file(dataset: str) -> str:
    if dataset != GENERATED and Path(dataset).suffix not in (".jsonl", ".txt"):
        raise ValueError(f"must be '{GENERATED}' or a .jsonl or .txt file, got '{dataset}'")
    return dataset


Expression = Annotated[Text, AfterValidator(_compilable)]
GroupSize = Annotated[int, Field(ge=-1), AfterValidator(_not_zero)]
Dataset = Annotated[Text, AfterValidator(_generated_or_file)]
Share = Annotated[float, Field(gt=0, le=1)]


class IgnoredScope(Section):
    """Weights that keep their precision, by NNCF's own keys."""

    names: Listed[Text] = key("names of nodes", ())
    patterns: Listed[Expression] = key("regular expressions over names", ())
    types: Listed[Text] = key("types of nodes", ())
    validate_: bool = Field(True, alias="validate", description="an error when one matches nothing")


class CompressionPass(Section):
    """One call of a compressor; the knobs carry NNCF's names and an unset one is NNCF's default.

    Source: nncf.compress_weights, NNCF 3.4.
    """

    compressor: Text = key("who compresses", "nncf")
    options: Mapped[str, Any] = key("options of a plugin's compressor", {})
    mode: Mode | None = key("NNCF's mode by its name, as `int4_asym`")
    sym: bool | None = key("symmetric weights, without zero point; int8 and int4 only")
    group_size: GroupSize | None = key(
        "weights that share a scale; `-1` is one per channel. Must divide every weight's channels"
    )
    ratio: Share | None = key(
        "share of weights that get the precision, others get `backup_mode`; above 0, at most 1"
    )
    all_layers: bool | None = key("compress embeddings and the last layer to the precision too")
    backup_mode: BackupMode | None = key(
        "`none`, `int8_sym`, `int8_asym`, `mxfp8_e4m3` or `fp8_e4m3`"
    )
    ignored_scope: IgnoredScope | None = key("weights that are left alone")
    group_size_fallback: Literal["error", "ignore", "adjust"] | None = key(
        "what to do where `group_size` does not divide: `error`, `ignore` or `adjust`"
    )
    sensitivity_metric: SensitivityMetric | None = key(
        "how `ratio` chooses weights; all but `weight_quantization_error` need `dataset`"
    )
    awq: bool | None = key("activation-aware scaling; works without `dataset` too")
    scale_estimation: bool | None = key("fit scales to data; needs `dataset`")
    gptq: bool | None = key("GPTQ; needs `dataset`; not with `lora_correction`")
    lora_correction: bool | None = key("correct with low-rank adapters; needs `dataset`")
    dataset: Dataset | None = key(
        "`generated` (written by the model), or a `.jsonl` or `.txt` file, relative to the recipe"
    )
    num_samples: Annotated[int, Field(ge=1)] | None = key("samples taken from `dataset`")

    def mode_for(self, precision: str) -> str:
        """Return the mode: the given one, or that of the precision (asymmetric unless `sym`)."""
        if self.mode is not None:
            return self.mode
        if precision in ("int8", "int4"):
            return f"{precision}_{'sym' if self.sym else 'asym'}"
        return precision

    def dataset_path(self, recipe_dir: Path) -> Path | None:
        """Return the user's file, None without one; `recipe_dir` is the recipe's folder."""
        if self.dataset in (None, GENERATED):
            return None
        return recipe_dir / Path(self.dataset or "").expanduser()
