"""What is stored is what its key says: everything that is read is checked before and after."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.build.execute import ViewWork
from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, StageError
from ovrecipe.recipe.project import Project
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST
from tests.build.fake_plugin import net
from tests.build.making import (
    FAKE_PLUGIN,
    context_of,
    do_up_to,
    fake_recipe,
    publish_fakes,
    work_on,
    write_recipe,
)
from tests.build.test_doit import DODO_WITH_PLUGIN, doit
from tests.conftest import CommandLine
from tests.sources.requests import checkpoint_files, write_files
from tests.store.test_verify import (
    break_the_manifest,
    delete_the_manifest,
    make_it_newer,
    truncate,
)

pytestmark = pytest.mark.slow

#: Providers beside which somebody edits what they read; none of them notices.
EDITED = """
import json
from pathlib import Path
from ovrecipe import hookimpl

def write_ir(folder):
    (folder / "openvino_model.xml").write_text(XML)
    for name in ("openvino_model.bin", "config.json"):
        (folder / name).write_text("{}")

class Exporter:
    version = 1
    def export(self, job):
        write_ir(job.output_dir)
        path = (job.checkpoint_dir / "config.json").resolve()
        path.write_text(path.read_text().replace("8", "9"))

class Compressor:
    version = 1
    def compress(self, job):
        write_ir(job.output_dir)
        job.dataset_path.write_text("another text")
        return {}

class Remaking:
    version = 1
    def compress(self, job):
        path = job.input_dir / "manifest.json"
        manifest = json.loads(path.read_text())
        path.chmod(0o644)
        path.write_text(json.dumps({**manifest, "seconds": 7.5}))
        write_ir(job.output_dir)
        return {}

class Source:
    def pin(self, request):
        return {"text": (request.recipe_dir / "checkpoint.txt").read_text()}
    def fetch(self, request, pin, checkpoint_dir):
        (checkpoint_dir / "config.json").write_text("{}")
        (request.recipe_dir / "checkpoint.txt").write_text("another")

@hookimpl
def providers():
    return {
        "exporter": {"edited": Exporter},
        "compressor": {"edited": Compressor, "remaking": Remaking},
        "source": {"edited": Source},
    }
"""


def context_with_edits(project: Project) -> BuildContext:
    """Return a context that knows the providers beside which files are edited."""
    plugin = project.root / "edited.py"
    plugin.write_text(EDITED.replace("XML", repr(net("int4", 64)), 1))
    return BuildContext(project, plugin_options=(FAKE_PLUGIN, str(plugin)))


def key_of(context: BuildContext, stage: str, variant: str | None = None) -> Key:
    """Return the key of a stage of the recipe `m`."""
    return context.plan("m").pinned_key(stage, variant)


def write_recipe_with_texts(project: Project, compressor: str) -> Path:
    """Write a recipe whose one variant reads a data set, and return that."""
    variant = {"int4": {"compressor": compressor, "dataset": "texts.txt"}}
    write_recipe(project, "m", {**fake_recipe(), "variants": variant})
    texts = project.recipes_dir / "texts.txt"
    texts.write_text("one text")
    return texts


def publish_tokenizer(context: BuildContext) -> None:
    """Publish a tokenizer that is none."""
    key = key_of(context, "tokenizer")
    with context.store.staging(key) as staging_dir:
        (staging_dir / "tokenizer.json").write_text("{}")
        context.store.publish(key, staging_dir)


def test_a_checkpoint_that_changes_while_it_is_exported_is_not_stored(project: Project) -> None:
    """The base would be another model's under the old one's key, and never be made again."""
    write_files(project.recipes_dir / "checkpoint", checkpoint_files())
    model = {"id": "./checkpoint", "exporter": "edited"}
    write_recipe(project, "m", fake_recipe(model=model))
    context = context_with_edits(project)
    changed = r"base m: its input .* source \w+: checkpoint/config\.json: the file it links to, "
    with pytest.raises(ArtifactCorrupt, match=changed) as caught:
        do_up_to(context, "m", "source", "base")
    assert str(caught.value.remedy).startswith("build again when you changed that file")
    assert not context.store.artifact_dir(key_of(context, "base")).exists()
    again = context_with_edits(project)
    assert key_of(again, "base") != key_of(context, "base")


def test_a_data_set_that_changes_while_it_is_read_is_not_stored(project: Project) -> None:
    """Which of the two texts calibrated the weights, nobody could say."""
    write_recipe_with_texts(project, "edited")
    context = context_with_edits(project)
    do_up_to(context, "m", "source", "base")
    publish_tokenizer(context)
    changed = r"weights m:int4: the data set texts\.txt changed while the build ran, so nothing"
    with pytest.raises(StageError, match=changed) as caught:
        do_up_to(context, "m", "weights", variant="int4")
    assert caught.value.remedy == "build again, and leave it alone meanwhile"
    assert not context.store.artifact_dir(key_of(context, "weights", "int4")).exists()


def test_a_data_set_that_changed_before_it_is_read_costs_no_compression(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was made when the build began, perhaps an hour ago."""
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    texts = write_recipe_with_texts(project, "fake")
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    publish_tokenizer(context)
    key_of(context, "weights", "int4")
    texts.write_text("another text")
    with pytest.raises(StageError, match=r"the data set texts\.txt changed"):
        do_up_to(context, "m", "weights", variant="int4")
    assert (tmp_path / "calls").read_text().splitlines() == ["base"]
    again = context_of(project)
    do_up_to(again, "m", "weights", variant="int4")
    assert again.store.has(key_of(again, "weights", "int4"))


def test_a_source_whose_content_changes_while_it_is_fetched_is_not_stored(project: Project) -> None:
    """Not every source looks again by itself."""
    write_recipe(project, "m", fake_recipe(model={"id": "edited:x"}))
    (project.recipes_dir / "checkpoint.txt").write_text("one")
    context = context_with_edits(project)
    with pytest.raises(StageError, match=r"source m: the checkpoint edited:x \(text\) changed"):
        do_up_to(context, "m", "source")
    assert not context.store.artifact_dir(key_of(context, "source")).exists()


def test_an_input_that_another_build_made_again_meanwhile_is_told(project: Project) -> None:
    """What was read of the old one may have been damaged; the new one is whole."""
    write_recipe(project, "m", fake_recipe(variants={"int4": {"compressor": "remaking"}}))
    context = context_with_edits(project)
    with pytest.raises(StageError, match="weights m:int4: an input was made again meanwhile"):
        do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert not context.store.artifact_dir(key_of(context, "weights", "int4")).exists()


def test_a_damaged_input_is_not_read(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights made from it would be certified as whole, whatever is in them."""
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    change_a_byte(context.store.artifact_dir(key_of(context, "base")) / "openvino_model.bin")
    said = r"weights m:int4: its input .* base \w+: openvino_model\.bin: has other bytes than"
    with pytest.raises(ArtifactCorrupt, match=said) as caught:
        do_up_to(context, "m", "weights", variant="int4")
    assert "'ovrecipe verify --remove'" in str(caught.value.remedy)
    assert (tmp_path / "calls").read_text().splitlines() == ["base"]


def change_a_byte(path: Path) -> None:
    """Write another byte of the same size."""
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_an_input_with_another_time_is_hashed_and_read(project: Project) -> None:
    """A store that was copied without its times is as good as before."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    for path in context.store.artifact_dir(key_of(context, "base")).iterdir():
        os.utime(path, (1, 1))
    do_up_to(context, "m", "weights", variant="int4")
    assert context.store.has(key_of(context, "weights", "int4"))


@pytest.mark.parametrize("damage", [truncate, delete_the_manifest, break_the_manifest])
def test_a_damage_that_stats_tell_is_built_again(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
) -> None:
    """Nobody has to find out first that the store lost a part of it."""
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    damage(context.store.artifact_dir(key_of(context, "base")))
    do_up_to(context, "m", "base")
    assert (tmp_path / "calls").read_text().splitlines() == ["base", "base"]
    assert context.store.has(key_of(context, "base"))


@pytest.mark.parametrize(
    ("stage", "damage", "said"),
    [
        ("assemble", truncate, "openvino_model.bin has 0 bytes, and had 8"),
        ("assemble", delete_the_manifest, "manifest.json is missing"),
        ("check", delete_the_manifest, "manifest.json is missing"),
    ],
)
def test_what_is_not_whole_is_not_said_to_be_built(
    ovrecipe: CommandLine,
    project: Project,
    stage: str,
    damage: Callable[[Path], None],
    said: str,
) -> None:
    """A build with nothing to do is told by stats of every file, not of the view alone."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    context = context_of(project)
    assert ViewWork(context.plan("m"), "int4").is_up_to_date()
    damage(context.store.artifact_dir(key_of(context, stage, "int4")))
    assert not ViewWork(context.plan("m"), "int4").is_up_to_date()
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    assert f"{stage} m:int4: damaged: {said}" in done.out.splitlines()


def test_a_source_whose_linked_files_are_gone_is_not_said_to_be_built(
    ovrecipe: CommandLine, project: Project, tmp_path: Path
) -> None:
    """A hub's cache was cleared, or a checkpoint lay on a disk that is not mounted."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    (tmp_path / "elsewhere").write_text("{}")
    with context.store.staging(key_of(context, "source")) as staging_dir:
        (staging_dir / "config.json").symlink_to(tmp_path / "elsewhere")
        context.store.publish(key_of(context, "source"), staging_dir)
    assert work_on(context, "m", "source").is_done()
    (tmp_path / "elsewhere").unlink()
    assert not work_on(context, "m", "source").is_done()
    done = ovrecipe("-p", FAKE_PLUGIN, "why", "m:int4", cwd=project.root)
    said = f"source m: damaged: config.json links to {tmp_path}/elsewhere, which is gone"
    assert said in done.out.splitlines()


def test_what_a_newer_ovrecipe_made_is_neither_read_nor_made_again(project: Project) -> None:
    """It may be fine, and whoever made it may be using it."""
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base")
    base_dir = context.store.artifact_dir(key_of(context, "base"))
    make_it_newer(base_dir)
    for stage, variant in (("base", None), ("weights", "int4")):
        with pytest.raises(ArtifactTooNew, match=r"a newer ovrecipe wrote it \(schema 2") as caught:
            do_up_to(context, "m", stage, variant=variant)
        assert str(caught.value.remedy).startswith("upgrade ovrecipe")
    assert json.loads((base_dir / MANIFEST).read_text())["schema"] == 2


def test_a_variant_whose_base_was_collected_is_built(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ovrecipe: CommandLine
) -> None:
    """`gc --intermediates` keeps what is built; another variant has the base made again."""
    calls = tmp_path / "calls"
    monkeypatch.setenv("FAKE_CALLS", str(calls))
    write_recipe(project, "m", fake_recipe())
    context = context_of(project)
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert ovrecipe("-p", FAKE_PLUGIN, "gc", "--intermediates", cwd=project.root).code == 0
    assert not context.store.has(key_of(context, "base"))
    done = doit(project, "weights:m:int4-other", dodo=DODO_WITH_PLUGIN)
    assert done.returncode == 0, done.stdout
    assert calls.read_text().splitlines() == ["base", "weights 64", "base", "weights 32"]
    assert context.store.has(key_of(context, "weights", "int4"))


def test_doit_clean_beside_a_build_ends_in_a_clear_error(project: Project) -> None:
    """Between two stages nobody uses an artifact, so it goes, and the next stage says so."""
    plugin = project.root / "cleaning.py"
    plugin.write_text(CLEANING)
    (project.root / "dodo.py").write_text(DODO_WITH_PLUGIN)
    write_recipe(project, "m", fake_recipe())
    context = BuildContext(project, plugin_options=(FAKE_PLUGIN, str(plugin)))
    with pytest.raises(StageError, match="weights m:int4: its input base is not in") as caught:
        do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert caught.value.remedy == "run 'ovrecipe build m' to make it again"


CLEANING = """
import subprocess
import sys
from pathlib import Path
from ovrecipe import hookimpl

@hookimpl
def after_stage(stage):
    if stage == "base":
        call = [sys.executable, "-m", "doit", "clean", "-a"]
        subprocess.run(call, cwd=Path(__file__).parent, check=True)
"""


def test_a_directory_that_is_removed_before_it_has_its_name_is_named(project: Project) -> None:
    """`doit clean` in another terminal; not the gate is to blame."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    context = context_of(project)
    work_on(context, "m", "assemble", "int4").clean()
    with pytest.raises(StageError, match="build m:int4: assemble m:int4 failed or was removed"):
        ViewWork(context.plan("m"), "int4").do(lambda _: None)
