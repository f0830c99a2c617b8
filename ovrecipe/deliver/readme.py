"""The README of an export: what it is, how good it is, and the commands that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.deliver.ovms import CONFIG, GRAPH, IMAGE, PORT, image_tag, served_as
from ovrecipe.deliver.uses import USES, ovms_objection, task_of, uses
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.run.artifact import STEPS
from ovrecipe.run.exported import EXPORT, Export
from ovrecipe.wording import SHORT, amount, nats

if TYPE_CHECKING:
    from ovrecipe.builtin.vector_settings import VectorSettings

README = "README.md"


def readme(export: Export, settings: VectorSettings | None = None, *, ovms: bool) -> str:
    """Return the text; the front matter is what model hubs read, `settings` are of vectors."""
    used = uses(export, settings)
    return "\n".join([*_front(export), *_what(export), *used, *_ovms(export, ovms=ovms)])


def _front(export: Export) -> Iterator[str]:
    scheme, location = split_model_id(_model_id(export))
    yield "---"
    yield "library_name: openvino"
    yield f"pipeline_tag: {USES[task_of(export)].tag}"
    if scheme == "hub":
        yield f"base_model: {location}"
    yield "tags: [openvino, ovrecipe]"
    yield "---"


def _model_id(export: Export) -> str:
    model = export.recipe.get("model")
    return str(model.get("id")) if isinstance(model, dict) else export.name


def _what(export: Export) -> Iterator[str]:
    size_bytes = sum(file.size_bytes for file in export.files.values())
    commit = str(export.source.get("commit") or "")
    at = f" at commit {commit[:SHORT]}" if commit else ""
    yield f"# {export.target}"
    yield (
        f"`{_model_id(export)}`{at} for OpenVINO, {amount(size_bytes)}, built and checked by"
        f" {export.made_by}. `{EXPORT}` has the recipe, the digest of every file, the versions of"
        " what made them and what each gate found."
    )
    yield ""
    if figures := list(_figures(export.gates)):
        yield "Against its source:"
        yield ""
        yield from (f"- {figure}" for figure in figures)
        yield ""


def _figures(gates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the gates measured; what a gate did not measure is not said."""
    for facts in gates.values():
        quality = facts.get("quality")
        if not isinstance(quality, Mapping):
            continue
        if (mean_kl := quality.get("mean_kl")) is not None:
            yield f"divergence {nats(float(mean_kl))} nats a token"
        if (same_top := quality.get("same_top")) is not None:
            yield f"the same likeliest token at {float(same_top):.1%} of the places"
        if (cosine := quality.get("cosine")) is not None:
            yield f"cosine {float(cosine):.4f}"
        if (difference := quality.get("score_difference")) is not None:
            yield f"scores differ by {float(difference):.2g}"
        if (lost := quality.get("lost")) is not None:
            yield f"{float(lost):.2g} of the differences between texts lost"


def _ovms(export: Export, *, ovms: bool) -> Iterator[str]:
    if objection := ovms_objection(export):
        yield f"Not OpenVINO Model Server: {objection}."
        if export.attention_backend == STEPS:
            yield "Nor `ovrecipe serve`, which answers many at once.\n"
            return
        yield "`ovrecipe serve ./out` serves it (`pip install ovrecipe-serve`).\n"
        return
    name, image = served_as(export), f"{IMAGE}:{image_tag(export)}"
    yield "OpenVINO Model Server (not run by ovrecipe):"
    if ovms:
        yield f"```\ndocker compose up\n```\nreads `{GRAPH}` and `{CONFIG}`. Without docker:"
        yield f"```\novms --model_path ./out --model_name {name} --rest_port {PORT}\n```"
    else:
        yield "```"
        yield f"docker run --rm -v ./out:/model:ro -p 127.0.0.1:{PORT}:{PORT} {image} \\"
        yield f"  --model_path /model --model_name {name} --rest_port {PORT} --task text_generation"
        yield "```"
        yield "`ovrecipe export --ovms` writes the files that a server reads beside the model."
    yield ""
