"""What a compressor keeps between the variants of one base."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.recipe.project import Project
from ovrecipe.store.gc import collect, plan_gc
from tests.build.fake_plugin import NET
from tests.build.making import FAKE_PLUGIN, do_up_to, fake_recipe, work_on, write_recipe

pytestmark = pytest.mark.slow

#: Counts its jobs in the cache; `{version}` is a release of its code.
KEEPER = '''
from ovrecipe import hookimpl

class Keeper:
    version = {version}

    def compress(self, job):
        job.cache_dir.mkdir(parents=True, exist_ok=True)
        notes = job.cache_dir / "notes"
        seen = notes.read_text() if notes.exists() else ""
        notes.write_text(seen + str(job.compression.group_size) + " ")
        xml = """{net}""".format(dtype="u4", group=job.compression.group_size)
        (job.output_dir / "openvino_model.xml").write_text(xml)
        (job.output_dir / "openvino_model.bin").write_text(seen)
        return {{"seen": seen}}

@hookimpl
def providers():
    return {{"compressor": {{"keeper": Keeper}}}}
'''
VARIANTS = {
    "int4": {"compressor": "keeper", "group_size": 64},
    "int4-other": {"compressor": "keeper", "group_size": 32},
}


def seen_by(project: Project, variant: str, *, version: int = 1) -> object:
    """Build a variant with a release of the compressor and return what it found in its cache."""
    plugin = project.root / "keeper.py"
    plugin.write_text(KEEPER.format(version=version, net=NET))
    context = BuildContext(project, plugin_options=(FAKE_PLUGIN, str(plugin)))
    write_recipe(project, "m", fake_recipe(variants=VARIANTS))
    do_up_to(context, "m", "source", "base", "weights", variant=variant)
    key = work_on(context, "m", "weights", variant).key()
    assert key is not None
    passes = context.store.manifest(key).facts["passes"]
    assert isinstance(passes, list)
    assert isinstance(passes[0], dict)
    return passes[0]["seen"]


def caches(project: Project) -> list[Path]:
    return sorted((project.store_dir / ".cache").glob("*/*"))


def test_variants_of_one_base_share_what_a_compressor_keeps(project: Project) -> None:
    """A sensitivity pass that takes minutes is done once, not once for each budget."""
    assert seen_by(project, "int4") == ""
    assert seen_by(project, "int4-other") == "64 "


def test_another_release_of_the_compressor_starts_empty(project: Project) -> None:
    """What older code kept may mean something else."""
    seen_by(project, "int4")
    assert seen_by(project, "int4-other", version=2) == ""
    assert len(caches(project)) == 2


def test_gc_removes_it_with_the_base(project: Project) -> None:
    """It is of no use without the base, and the store's folder must not grow for ever."""
    seen_by(project, "int4")
    context = BuildContext(project)
    assert caches(project)
    collect(context.store, plan_gc(context.store, roots=()))
    assert not caches(project)
