"""weights: one variant's weights, always made from the base IR."""

from __future__ import annotations

import math
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from ovrecipe.build.stages.base import OTHER_BYTES
from ovrecipe.build.stages.stage import Stage, keep_torch_out
from ovrecipe.builtin.ir import base_bytes
from ovrecipe.errors import PluginError, RecipeInvalid
from ovrecipe.hooks.roles import CompressionJob, Estimate
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import place_in_recipe
from ovrecipe.recipe.yaml_reader import dotted
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST
from ovrecipe.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.build.stages.stage import Job, StageContext
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import Compressor, WeightShape
    from ovrecipe.recipe.schema import Recipe, Variant
    from ovrecipe.recipe.yaml_reader import Loc
    from ovrecipe.types import Json

#: What makes tokens of a data set's texts.
TOKENIZING = ("openvino-genai", "openvino-tokenizers")
KV_CACHE_PRECISION = "KV_CACHE_PRECISION"
#: Names of the tokenizer's files, of what `assemble` writes anew and of the store: weights under
#: such a name would stand in the way of the real file.
RESERVED = re.compile(
    r"(openvino_)?(de)?tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\..*"
    r"|merges\.txt|.*\.tiktoken|spiece\.model|chat_template\..*|" + re.escape(MANIFEST)
)
#: A compressor that does not say what it needs is expected to need so much more than its bits.
MARGIN = 1.25


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
            _pass_fields(plan, each, plan.recipe.pass_loc(str(variant), number))
            for number, each in enumerate(passes)
        ],
    }


def compression_passes(spec: Variant) -> tuple[CompressionPass, ...]:
    """Return the passes of a variant; fp16 is a pass of its own kind."""
    return spec.compression_passes() or (CompressionPass(compressor="fp16"),)


def reads_text(spec: Variant) -> bool:
    """Return whether a pass calibrates on text, and so needs the tokenizer."""
    return any(each.dataset is not None for each in compression_passes(spec))


def _pass_fields(plan: RecipePlan, each: CompressionPass, loc: Loc) -> Json:
    compressor = plan.compressor(each.compressor)
    fields = each.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"options"})
    given = compressor.options(each.options, loc=(*loc, "options"), recipe=plan.recipe)
    fields |= compressor.key_with("compressor", given)
    path = each.dataset_path(plan.recipe.base_dir)
    if path is not None:
        fields["dataset"] = {
            "sha256": _dataset_digest(plan, path, (*loc, "dataset"), str(each.dataset)),
            "packages": plan.package_versions(TOKENIZING),
        }
    return dict(fields)


def dataset_error(recipe: Recipe, loc: Loc, written: str, reason: str) -> RecipeInvalid:
    """Return the error for a data set that cannot be read."""
    return RecipeInvalid(
        f"{place_in_recipe(recipe, loc)}: {dotted(loc)}: {written}: {reason}",
        remedy="a path starts at the recipe's folder; 'generated' needs no file",
    )


def _dataset_digest(plan: RecipePlan, path: Path, loc: Loc, written: str) -> str:
    try:
        return plan.digests.sha256(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "no such file" if missing else f"cannot be read: {error.strerror}"
        raise dataset_error(plan.recipe, loc, written, reason) from error


def problems(work: Work) -> list[str]:
    """Ask the compressor of each pass what would fail for certain."""
    spec = work.plan.recipe.variants[str(work.variant)]
    found: list[str] = []
    shapes = work.matrices()
    for compression in compression_passes(spec):
        compressor = work.plan.compressor(compression.compressor)
        with compressor.blamed():
            found += compressor.optional("problems", compression, spec.precision, shapes) or ()
    return [f"variants.{work.variant}: {problem}" for problem in found]


def estimate(work: Work) -> Estimate | None:
    """Ask the compressor of each pass; their results lie beside each other until the last ends."""
    spec, tensors = work.plan.recipe.variants[str(work.variant)], work.tensors()
    disk_bytes = memory_bytes = 0
    for compression in compression_passes(spec):
        compressor = work.plan.compressor(compression.compressor)
        said = compressor.optional("estimate", compression, spec.precision, tensors)
        needed = said or default_estimate(compression, spec.precision, tensors)
        disk_bytes += needed.disk_bytes
        memory_bytes = max(memory_bytes, needed.memory_bytes)
    return Estimate(disk_bytes, memory_bytes) if tensors else None


def default_estimate(
    compression: CompressionPass, precision: str, tensors: Sequence[WeightShape]
) -> Estimate:
    """Return a generous guess from the bits that the precision's name has."""
    bits = int("".join(re.findall(r"\d+", precision)[:1]))
    size_bytes = int(MARGIN * bits / 8 * sum(math.prod(tensor.shape) for tensor in tensors))
    data_bytes = 0 if compression.dataset is None else base_bytes(tensors)
    return Estimate(size_bytes, OTHER_BYTES + size_bytes + data_bytes)


def run(job: Job, bench: StageContext) -> dict[str, Json]:
    """Run the passes in order, each reading what the one before wrote.

    Raises:
        PluginError: a compressor wrote a file under a name that is not its own.
    """
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
        loc = job.recipe.pass_loc(str(job.variant), number - 1)
        facts.append(_compress(job, bench, each, loc, input_dir, output_dir))
        _refuse_reserved_names(output_dir, each.compressor)
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


def _refuse_reserved_names(output_dir: Path, compressor: str) -> None:
    for path in sorted(output_dir.iterdir()):
        if RESERVED.fullmatch(path.name):
            raise PluginError(
                f"the compressor {compressor!r} wrote {path.name}, which is no file of its own: "
                "it belongs to the tokenizer, the prompt or the store",
                remedy="it may write openvino_model.xml and .bin, and files under other names; "
                "tell its maintainers",
            )


def _copy_configs(base_ir_dir: Path, output_dir: Path) -> None:
    """Bring along what describes the weights, so that the base may be collected."""
    for name in ("config.json", "generation_config.json"):
        if (base_ir_dir / name).exists():
            shutil.copyfile(base_ir_dir / name, output_dir / name)


def _compress(
    job: Job,
    bench: StageContext,
    each: CompressionPass,
    loc: Loc,
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
        cache_dir=_cache_dir(job, compressor),
    )
    with compressor.blamed():
        facts = compressor.facts(compressor.provider.compress(work))
    compressor.require_files(output_dir, "openvino_model.xml", "openvino_model.bin")
    return facts


def _cache_dir(job: Job, compressor: Provided[Compressor]) -> Path:
    """Return where this state of a compressor may keep what it learns of a base."""
    state = Key("compressor-cache", compressor.key_fields())
    # An artifact's folder is called like its key, and so is the folder of its caches.
    caches_dir = Store(job.store_dir).cache_dir(job.inputs["base"].name)
    return caches_dir / f"{compressor.name}-{state.short}"


STAGE = Stage(
    name="weights",
    doc="one variant's weights, compressed from the base",
    doing="compressing the weights",
    version=1,
    inputs=inputs,
    fields=fields,
    run=run,
    per_variant=True,
    is_judged=True,
    problems=problems,
    estimate=estimate,
)
