"""weights: one variant's weights, always made from the base IR."""

from __future__ import annotations

import shutil
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from ovrecipe.build.job import keep_torch_out
from ovrecipe.build.stages.stage import Stage
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks.provided import key_options
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import CompressionPass, Variant
from ovrecipe.recipe.problems import dotted, place_in_recipe
from ovrecipe.store.key import Key
from ovrecipe.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.build.job import Bench, Job
    from ovrecipe.build.plan import RecipePlan
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Compressor
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.types import Json

#: What makes tokens of a data set's texts.
TOKENIZING = ("openvino-genai", "openvino-tokenizers")
KV_CACHE_PRECISION = "KV_CACHE_PRECISION"


def inputs(recipe: Recipe, variant: str | None) -> tuple[str, ...]:
    """The base IR; and what calibration text needs to become tokens."""
    spec = recipe.variants[str(variant)]
    return ("base", "source", "tokenizer") if reads_text(spec) else ("base",)


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:
    """The passes, and what their data sets say."""
    spec = plan.recipe.variants[str(variant)]
    passes = compression_passes(spec)
    return {
        "precision": spec.precision,
        "passes": [
            _pass_fields(plan, each, _loc(plan.recipe, str(variant), number))
            for number, each in enumerate(passes)
        ],
    }


def compression_passes(spec: Variant) -> tuple[CompressionPass, ...]:
    """Return the passes of a variant; fp16 is a pass of its own kind."""
    return spec.compression_passes() or (CompressionPass(compressor="fp16"),)


def reads_text(spec: Variant) -> bool:
    """Return whether a pass calibrates on text, and so needs the tokenizer."""
    return any(each.dataset is not None for each in compression_passes(spec))


def _loc(recipe: Recipe, variant: str, number: int) -> tuple[str | int, ...]:
    """Return where a pass is written."""
    inner = ("passes", number) if recipe.variants[variant].passes else ()
    return ("variants", variant, *inner)


def _pass_fields(plan: RecipePlan, each: CompressionPass, loc: tuple[str | int, ...]) -> Json:
    compressor = plan.compressor(each.compressor)
    fields = each.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"options"})
    fields["compressor"] = compressor.key_fields()
    given = compressor.options(each.options, loc=(*loc, "options"), recipe=plan.recipe)
    if options := key_options(given):
        fields["options"] = options
    path = each.dataset_path(plan.recipe.base_dir)
    if path is not None:
        fields["dataset"] = {
            "sha256": _dataset_digest(plan, path, (*loc, "dataset"), str(each.dataset)),
            "packages": plan.package_versions(TOKENIZING),
        }
    return dict(fields)


def _dataset_digest(plan: RecipePlan, path: Path, loc: tuple[str | int, ...], written: str) -> str:
    try:
        return plan.digests.sha256(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "no such file" if missing else f"cannot be read: {error.strerror}"
        where = f"{place_in_recipe(plan.recipe, loc)}: {dotted(loc)}: {written}"
        raise RecipeInvalid(
            f"{where}: {reason}", remedy="paths are relative to the recipe"
        ) from error


def run(job: Job, bench: Bench) -> dict[str, Json]:
    """Run the passes in order, each reading what the one before wrote."""
    spec = job.recipe.variants[str(job.variant)]
    passes = compression_passes(spec)
    names = {each.compressor for each in passes}
    provided = [bench.plugins.provider("compressor", each, job.recipe) for each in names]
    keep_torch_out(sys.modules, provided)
    input_dir = job.inputs["base"]
    facts: list[Json] = []
    for number, each in enumerate(passes, start=1):
        last = number == len(passes)
        output_dir = job.output_dir if last else job.output_dir / f"pass-{number}"
        output_dir.mkdir(exist_ok=True)
        loc = _loc(job.recipe, str(job.variant), number - 1)
        facts.append(_compress(job, bench, each, loc, input_dir, output_dir))
        input_dir = output_dir
    for folder in job.output_dir.glob("pass-*"):
        shutil.rmtree(folder)
    if spec.precision != "fp16":
        free_kv_cache_precision(job.output_dir / "openvino_model.xml")
    _copy_configs(job.inputs["base"], job.output_dir)
    return {"passes": facts}


def free_kv_cache_precision(xml_path: Path) -> None:
    """Remove the wish for an f16 KV cache, which a full-precision base carries.

    On compressed weights it would keep the cache from being compressed too; NNCF's provider
    removes it, and so does this for compressors that do not know of it.
    """
    if KV_CACHE_PRECISION.encode() not in xml_path.read_bytes():
        return
    tree = ET.parse(xml_path)  # noqa: S314 - written by OpenVINO a moment ago
    for options in tree.getroot().iterfind("rt_info/runtime_options"):
        for each in options.findall(KV_CACHE_PRECISION):
            options.remove(each)
    tree.write(xml_path, encoding="utf-8", xml_declaration=True)


def _copy_configs(base_dir: Path, output_dir: Path) -> None:
    """Bring along what describes the weights, so that the base may be collected."""
    for name in ("config.json", "generation_config.json"):
        if (base_dir / name).exists():
            shutil.copyfile(base_dir / name, output_dir / name)


def _compress(
    job: Job,
    bench: Bench,
    each: CompressionPass,
    loc: tuple[str | int, ...],
    input_dir: Path,
    output_dir: Path,
) -> dict[str, Json]:
    compressor = bench.plugins.provider("compressor", each.compressor, job.recipe)
    work = CompressionJob(
        input_dir=input_dir,
        base_dir=job.inputs["base"],
        output_dir=output_dir,
        tokenizer_dir=job.inputs.get("tokenizer"),
        checkpoint_dir=job.checkpoint_dir if "source" in job.inputs else None,
        dataset_path=each.dataset_path(job.recipe.base_dir),
        compression=each,
        precision=job.recipe.variants[str(job.variant)].precision,
        recipe=job.recipe,
        options=compressor.options(each.options, loc=(*loc, "options"), recipe=job.recipe),
        progress=bench.progress,
        cache_dir=_cache_dir(job.inputs["base"], compressor),
    )
    with compressor.blamed():
        facts = compressor.facts(compressor.provider.compress(work))
    compressor.require_files(output_dir, "openvino_model.xml", "openvino_model.bin")
    return facts


def _cache_dir(base_dir: Path, compressor: Provided[Compressor]) -> Path:
    """Return where this state of a compressor may keep what it learns of a base."""
    state = Key("compressor-cache", compressor.key_fields())
    store = Store(base_dir.parents[1])
    return store.cache_dir(base_dir.name) / f"{compressor.name}-{state.short}"


STAGE = Stage("weights", 1, "compressing the weights", inputs, fields, run, per_variant=True)
