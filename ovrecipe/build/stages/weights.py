"""weights: one variant's weights, always made from the base IR."""

from __future__ import annotations

import math
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ovrecipe.build.stages.base import MODEL_FILES, OTHER_BYTES
from ovrecipe.build.stages.stage import Job, Stage, StageContext, keep_torch_out
from ovrecipe.builtin.ir import base_bytes
from ovrecipe.errors import RecipeInvalid
from ovrecipe.hooks.roles import CompressionJob, Compressor, Estimate, WeightShape
from ovrecipe.json_files import GENERATION_CONFIG, VECTOR_CONFIG
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import place_in_recipe
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.yaml_reader import Loc, dotted
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST
from ovrecipe.store.store import Store
from ovrecipe.types import Json

if TYPE_CHECKING:
    from ovrecipe.build.context import RecipePlan
    from ovrecipe.build.execute import Work
    from ovrecipe.hooks.provided import Provided

#: What makes tokens of a data set's texts.
TOKENIZING = ("openvino-genai", "openvino-tokenizers")
NO_FILE = "no such file"
KV_CACHE_PRECISION = "KV_CACHE_PRECISION"
#: Names of the tokenizer's files, of what `assemble` writes anew and of the store: weights under
#: such a name would stand in the way of the real file.
RESERVED = re.compile(
    r"(openvino_)?(de)?tokenizer.*|special_tokens_map\.json|added_tokens\.json|vocab\..*"
    r"|merges\.txt|.*\.tiktoken|spiece\.model|chat_template\..*|adapter-.*\.safetensors|"
    + "|".join(map(re.escape, (VECTOR_CONFIG, MANIFEST)))
)
#: A compressor that does not say what it needs is expected to need so much more than its bits.
MARGIN = 1.25


def passes_of(recipe: Recipe, variant: str | None) -> list[tuple[CompressionPass, Loc]]:
    """Return a variant's passes, and where each is written; fp16 is a pass of its own kind."""
    name = str(variant)
    passes = recipe.variants[name].compression_passes() or (CompressionPass(compressor="fp16"),)
    return [(own, recipe.pass_loc(name, number)) for number, own in enumerate(passes)]


def inputs(recipe: Recipe, variant: str | None) -> tuple[str, ...]:
    """The base IR; and what calibration text needs to become tokens."""
    reads_text = any(compression.dataset for compression, _ in passes_of(recipe, variant))
    return ("base", "source", "tokenizer") if reads_text else ("base",)


def fields(plan: RecipePlan, variant: str | None) -> dict[str, Json]:
    """The passes, and what their data sets say."""
    return {
        "precision": plan.recipe.variants[str(variant)].precision,
        "passes": [_pass_fields(plan, *found) for found in passes_of(plan.recipe, variant)],
    }


def _pass_fields(plan: RecipePlan, compression: CompressionPass, loc: Loc) -> Json:
    compressor = plan.provider("compressor", compression.compressor)
    fields = compression.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"options"}
    )
    given = compressor.options(compression.options, loc=(*loc, "options"), recipe=plan.recipe)
    fields |= compressor.key_with("compressor", given)
    path = compression.dataset_path(plan.recipe.recipe_dir)
    if path is not None:
        try:
            digest = plan.context.digests.sha256(path)
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = NO_FILE if missing else f"cannot be read: {error.strerror}"
            raise dataset_error(plan.recipe, compression.dataset, loc, reason) from error
        fields["dataset"] = {"sha256": digest, "packages": plan.package_versions(TOKENIZING)}
    return dict(fields)


def dataset_error(recipe: Recipe, dataset: str | None, loc: Loc, reason: str) -> RecipeInvalid:
    """Return the error for the data set of a pass, written at `loc`, that cannot be read."""
    loc = (*loc, "dataset")
    return RecipeInvalid(
        f"{place_in_recipe(recipe, loc)}: {dotted(loc)}: {dataset}: {reason}",
        remedy="a path starts at the recipe's folder; 'generated' needs no file",
    )


def problems(work: Work) -> list[str]:
    """Ask the compressor of each pass what would fail for certain."""
    recipe, shapes = work.plan.recipe, work.matrices()
    precision = recipe.variants[str(work.variant)].precision
    found: list[str] = []
    for compression, _ in passes_of(recipe, work.variant):
        compressor = work.plan.provider("compressor", compression.compressor)
        found += compressor.optional("problems", compression, precision, shapes)
    return [f"variants.{work.variant}: {problem}" for problem in found]


def estimate(work: Work) -> Estimate | None:
    """Ask the compressor of each pass; their results lie beside each other until the last ends."""
    recipe, tensors = work.plan.recipe, work.tensors()
    precision = recipe.variants[str(work.variant)].precision
    needed: list[Estimate] = []
    for compression, _ in passes_of(recipe, work.variant):
        compressor = work.plan.provider("compressor", compression.compressor)
        said = compressor.optional("estimate", compression, precision, tensors)
        needed += said or [default_estimate(compression, precision, tensors)]
    disk_bytes = sum(one.disk_bytes for one in needed)
    return Estimate(disk_bytes, max(one.memory_bytes for one in needed)) if tensors else None


def default_estimate(
    compression: CompressionPass, precision: str, tensors: Sequence[WeightShape]
) -> Estimate:
    """Return a generous guess from the bits that the precision's name has."""
    bits = int("".join(re.findall(r"\d+", precision)[:1]))
    size_bytes = int(MARGIN * bits / 8 * sum(math.prod(tensor.shape) for tensor in tensors))
    data_bytes = 0 if compression.dataset is None else base_bytes(tensors)
    return Estimate(size_bytes, OTHER_BYTES + size_bytes + data_bytes)


def run(job: Job, context: StageContext) -> dict[str, Json]:
    """Run the passes in order, each reading what the one before wrote, and read what came of it.

    Raises:
        PluginError: a compressor wrote a file under a name that is not its own.
        GateError: the IR does not have what the recipe asks for.
    """
    # Only a worker needs them.
    from ovrecipe.build.requested import idle_scope, refuse, undone
    from ovrecipe.builtin.stored import read_stored

    passes, base_dir = passes_of(job.recipe, job.variant), job.inputs["base"]
    precision = job.recipe.variants[str(job.variant)].precision
    provider = partial(context.plugins.provider, "compressor", recipe=job.recipe)
    keep_torch_out(sys.modules, [provider(compression.compressor) for compression, _ in passes])
    input_dir, stored = base_dir, read_stored(base_dir)
    facts: list[Json] = []
    for number, (compression, loc) in enumerate(passes, start=1):
        last = number == len(passes)
        output_dir = job.output_dir if last else job.output_dir / f"pass-{number}"
        output_dir.mkdir(exist_ok=True)
        refuse(loc, idle_scope(compression, stored))
        # Of a class, an instance for each pass: what one pass leaves in it is not the next one's.
        compressor = provider(compression.compressor)
        given = compressor.options(compression.options, loc=(*loc, "options"), recipe=job.recipe)
        work = CompressionJob(
            input_dir=input_dir,
            base_dir=base_dir,
            output_dir=output_dir,
            tokenizer_dir=job.inputs.get("tokenizer"),
            checkpoint_dir=job.checkpoint_dir if "source" in job.inputs else None,
            dataset_path=compression.dataset_path(job.recipe.recipe_dir),
            compression=compression,
            precision=precision,
            recipe=job.recipe,
            options=given,
            progress=context.progress,
            cache_dir=_cache_dir(job, compressor),
        )
        with context.calling(compressor):
            told = compressor.facts(compressor.provider.compress(work))
        compressor.check_files(output_dir, *MODEL_FILES)
        written = sorted(path.name for path in output_dir.iterdir())
        for name in filter(RESERVED.fullmatch, written):
            raise compressor.blame(
                f"wrote {name}, which belongs to the tokenizer, the prompt or the store; a "
                "compressor writes openvino_model.xml and .bin, and files under names of its own"
            )
        before, stored = stored, read_stored(output_dir)
        refuse(loc, undone(compression, precision, before, stored, applied_of(told)))
        facts.append(told)
        input_dir = output_dir
    for folder in job.output_dir.glob("pass-*"):
        shutil.rmtree(folder)
    if precision != "fp16":
        free_kv_cache_precision(job.output_dir / "openvino_model.xml")
    # What describes the weights comes along, so that the base may be collected.
    for path in (base_dir / "config.json", base_dir / GENERATION_CONFIG):
        if path.exists():
            shutil.copyfile(path, job.output_dir / path.name)
    return {"passes": facts, **stored.facts()}


def applied_of(facts: dict[str, Json]) -> list[str] | None:
    """Return the methods that a compressor says it applied; None when it says nothing of them."""
    applied = facts.get("applied")
    return [str(name) for name in applied] if isinstance(applied, list) else None


def free_kv_cache_precision(xml_path: Path) -> None:
    """Remove a full-precision base's wish for an f16 KV cache, as NNCF's provider does.

    On compressed weights it would keep the cache from being compressed too.
    """
    if KV_CACHE_PRECISION.encode() not in xml_path.read_bytes():
        return
    tree = ET.parse(xml_path)  # noqa: S314 - written by OpenVINO a moment ago
    for options in tree.getroot().iterfind("rt_info/runtime_options"):
        for option in options.findall(KV_CACHE_PRECISION):
            options.remove(option)
    tree.write(xml_path, encoding="utf-8", xml_declaration=True)


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
    version=2,
    inputs=inputs,
    fields=fields,
    run=run,
    per_variant=True,
    is_judged=True,
    problems=problems,
    estimate=estimate,
)
