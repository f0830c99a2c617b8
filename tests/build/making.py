"""Small projects for the tests of the graph, and how they are built."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from ovrecipe.build.context import BuildContext
from ovrecipe.build.events import Lines
from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.remote import Remote
from ovrecipe.build.stages import stage_named
from ovrecipe.build.taking import give
from ovrecipe.recipe.project import Project

SAID = Lines(io.StringIO())
FAKE_PLUGIN = str(Path(__file__).parent / "fake_plugin.py")


def fake_recipe(**changes: Any) -> dict[str, Any]:
    """Return a recipe whose stages up to the weights take no time and no model."""
    recipe: dict[str, Any] = {
        "model": {"id": "made:checkpoint", "exporter": "fine"},
        "prompt": {"template": "Q: {instruction}\nA:"},
        "variants": {
            "int4": {"compressor": "fake", "group_size": 64},
            "int4-other": {"compressor": "fake", "group_size": 32},
        },
    }
    for section, fields in changes.items():
        recipe[section] = {**recipe.get(section, {}), **fields}
    return recipe


def write_recipe(project: Project, name: str, document: dict[str, Any]) -> Path:
    """Write a recipe file."""
    path = project.recipes_dir / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def context_of(project: Project, *more: str) -> BuildContext:
    """Return a context that knows the fake plugin, and more of them."""
    fresh = replace(project, env=dict(os.environ))
    return BuildContext(fresh, plugin_options=(FAKE_PLUGIN, *more))


def work_on(context: BuildContext, name: str, stage: str, variant: str | None = None) -> Work:
    """Return a stage's work."""
    return Work(context.plan(name), stage_named(stage), variant)


def do_up_to(context: BuildContext, name: str, *stages: str, variant: str | None = None) -> str:
    """Run the stages one after another and return what was said."""
    said = io.StringIO()
    for stage in stages:
        per_variant = stage_named(stage).per_variant
        work_on(context, name, stage, variant if per_variant else None).do(Lines(said))
    return said.getvalue()


#: What gates find out of a model that is like its source.
QUALITY = {"mean_kl": 0.0, "information": 1.0, "as_run_gap": 0.0}
PASSED = {"quality": QUALITY, "attention_backend": "SDPA"}


def publish_fakes(
    project: Project,
    name: str,
    variant: str,
    *,
    template: str | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
    plugins: tuple[str, ...] = (),
) -> None:
    """Publish empty artifacts under the keys of a variant's directory and gates, and its view.

    With a chat template the directory is opened as far as the model, which is none.
    """
    context = context_of(project, *plugins)
    view = ViewWork(context.plan(name), variant)
    for work in view.needs():
        key = work.key()
        assert key is not None
        with context.store.staging(key) as staging_dir:
            (staging_dir / "openvino_model.bin").write_text(key.stage)
            if template is not None and work.stage.publishes:
                (staging_dir / "chat_template.jinja").write_text(template)
            context.store.publish(key, staging_dir, facts={**PASSED, **facts})
    view.do(Lines(io.StringIO()))


def push_all(project: Project, remote: Remote) -> list[int | None]:
    """Send what the view of `m:int4` needs."""
    view = ViewWork(context_of(project).plan("m"), "int4")
    return [give(work, remote, SAID) for work in view.needs()]


def needs(project: Project) -> list[Work]:
    """Return the work of what the view of `m:int4` needs."""
    return ViewWork(context_of(project).plan("m"), "int4").needs()
