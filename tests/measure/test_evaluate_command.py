"""`ovrecipe evaluate`, on the real model."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ovrecipe.errors import NotBuilt
from ovrecipe.measure.built import Built
from ovrecipe.recipe.project import find_project
from ovrecipe.run.artifact import Artifact
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import MANIFEST, read_manifest
from ovrecipe.store.store import Store
from ovrecipe.store.views import REFUSED, remove_view, set_view
from tests.build.making import FAKE_PLUGIN, fake_recipe, publish_fakes, write_recipe
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project
    from tests.conftest import CommandLine

NAME = "smollm2-135m"
#: The fewest tokens: an answer has one.
SHORT = ("--tokens", "64")


class Workshop:
    """A project of its own, whose store has what `evaluate` needs of the shared one."""

    def __init__(self, root: Path, built: Project, cache_dir: Path) -> None:
        shutil.copytree(built.recipes_dir, root / "recipes")
        self.project = find_project(root, {**os.environ, "OVRECIPE_STORE": str(root / "store")})
        self.store = Store(self.project.store_dir)
        for variant in ("int8", "int4"):
            model_dir = (built.models_dir / NAME / variant).resolve()
            self.add(variant, model_dir)
        self.reference = str(read_manifest(model_dir).key["inputs"]["reference"])  # type: ignore[call-overload, index]
        stages = model_dir.parents[1]
        manifest = stages / "reference" / self.reference / MANIFEST
        (self.store.root / "reference" / self.reference).mkdir(parents=True)
        shutil.copy(manifest, self.store.root / "reference" / self.reference)
        base = str(read_manifest(manifest.parent).key["inputs"]["base"])  # type: ignore[call-overload, index]
        self.base_dir = self.store.root / "base" / base
        self.base_dir.parent.mkdir()
        self.base_dir.symlink_to(stages / "base" / base)
        (self.store.root / ".cache").symlink_to(cache_dir)

    def add(self, variant: str, model_dir: Path) -> None:
        """Give an artifact a name in this project."""
        place = self.store.root / "assemble" / model_dir.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.symlink_to(model_dir)
        set_view(self.store, self.project.models_dir, NAME, variant, place)

    def add_nan(self, variant: str) -> None:
        """Build a variant whose logits are no numbers."""
        import openvino as ov
        from openvino import opset13 as ops

        key = Key("assemble", {"inputs": {"reference": self.reference}})
        with self.store.staging(key) as folder:
            like = (self.project.models_dir / NAME / "int4").resolve()
            for path in like.iterdir():
                if path.name != MANIFEST and not path.name.startswith("openvino_model."):
                    shutil.copy(path, folder)
            ids = ops.parameter([-1, -1], np.int64, name="input_ids")
            ids.output(0).set_names({"input_ids"})
            nan = ops.constant(np.full((1, 1, 49152), math.nan, np.float32))
            column = ops.unsqueeze(ops.convert(ids, "f32"), ops.constant([2]))
            logits = ops.multiply(column, nan)
            logits.output(0).set_names({"logits"})
            model = ov.Model([ops.result(logits)], [ids], "nan")
            ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
            place = self.store.publish(key, folder)
        set_view(self.store, self.project.models_dir, NAME, variant, place)

    @property
    def how(self) -> dict[str, Any]:
        """Where the command is called."""
        return {"cwd": self.project.root, "env": {"OVRECIPE_STORE": str(self.store.root)}}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source says is kept for the next test."""
    return tmp_path_factory.mktemp("said")


@pytest.fixture
def workshop(tmp_path: Path, smollm2_project: Project, cache_dir: Path) -> Workshop:
    return Workshop(tmp_path, smollm2_project, cache_dir)


@pytest.mark.model
def test_fewer_bits_lose_more_and_the_source_is_asked_once(
    workshop: Workshop, ovrecipe: CommandLine
) -> None:
    """What it said is there when the base is no more; for other texts it says what to do."""
    done = ovrecipe("evaluate", NAME, *SHORT, "--json", **workshop.how)
    assert done.code == 0, done.err
    rows = {row["variant"]: row for row in json.loads(done.out)["evaluations"]}
    assert list(rows) == ["int8", "int4"]
    assert 0 < rows["int8"]["mean_kl"] < 0.02 < rows["int4"]["mean_kl"] < 2
    assert rows["int4"]["source_perplexity"] == rows["int8"]["source_perplexity"]
    for row in rows.values():
        assert row["tokens"] == 64
        assert len(row["first_differences"]) == 16
        assert row["perplexity"] == pytest.approx(
            row["perplexity_ratio"] * row["source_perplexity"], rel=1e-4
        )
        assert row["examples"][0]["asked"].endswith("of France?")
    workshop.base_dir.unlink()
    table = ovrecipe("evaluate", f"{NAME}:int8", *SHORT, **workshop.how)
    assert table.code == 0, table.err
    assert f"{rows['int8']['mean_kl']:.3g} ± " in table.out
    assert "What is the" in table.out
    other = ovrecipe("evaluate", f"{NAME}:int8", "--tokens", "128", **workshop.how)
    assert other.code == 10
    assert f"doit base:{NAME}" in other.err


@pytest.mark.model
def test_a_variant_without_figures_is_named_and_the_others_are_shown(
    workshop: Workshop, ovrecipe: CommandLine
) -> None:
    """Exit code 8, as a gate's."""
    workshop.add_nan("fp16")
    done = ovrecipe("evaluate", f"{NAME}:fp16", f"{NAME}:int8", *SHORT, "--json", **workshop.how)
    assert done.code == 8
    found = json.loads(done.out)
    assert [row["variant"] for row in found["evaluations"]] == ["int8"]
    assert found["errors"] == [f"{NAME}:fp16: the model's logits are not finite"]
    assert f"{NAME}:fp16: the model's logits are not finite" in done.err


@pytest.mark.model
def test_what_a_gate_refused_can_be_studied(workshop: Workshop, ovrecipe: CommandLine) -> None:
    """It has no name, and its figures are what one wants to see."""
    models_dir = workshop.project.models_dir
    int4 = workshop.store.root / "assemble" / (models_dir / NAME / "int4").resolve().name
    set_view(workshop.store, models_dir / REFUSED, NAME, "int4", int4)
    remove_view(models_dir, NAME, "int4")
    refused = ovrecipe("evaluate", f"{NAME}:int4", *SHORT, **workshop.how)
    assert refused.code == 10
    assert "--unaccepted" in refused.err
    done = ovrecipe("evaluate", NAME, *SHORT, "--unaccepted", "--json", **workshop.how)
    assert [row["variant"] for row in json.loads(done.out)["evaluations"]] == ["int4"]


@pytest.mark.model
def test_the_users_own_texts_are_compared(
    workshop: Workshop, ovrecipe: CommandLine, tmp_path: Path
) -> None:
    """Each token but a text's first; of a gigabyte no more than is asked for."""
    text = "The sea is wide and deep, and nobody knows all of it."
    data = tmp_path / "d.jsonl"
    data.write_text((json.dumps({"text": text}) + "\n") * 20)
    with data.open("r+b") as stream:
        stream.truncate(10**9)
    words = ("evaluate", f"{NAME}:int8", "--data", str(data), "--json")
    done = ovrecipe(*words, "--tokens", "100", **workshop.how)
    assert done.code == 0, done.err
    [row] = json.loads(done.out)["evaluations"]
    assert row["tokens"] == 100
    assert row["source_perplexity"] > 2
    assert row["first_differences"] == row["examples"] == []


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b"", "data set d.jsonl has no text"),
        ("d.txt", b"\x00\x01", "d.txt:1: binary data"),
        ("d.txt", b"b\xffd", "d.txt:1: not UTF-8"),
        ("d.jsonl", b'{"text"', "d.jsonl:1: not JSON"),
        ("d.txt", b"a", "no text of two tokens"),
    ],
)
def test_a_data_set_that_cannot_be_used_is_refused(
    workshop: Workshop,
    ovrecipe: CommandLine,
    tmp_path: Path,
    name: str,
    content: bytes,
    message: str,
) -> None:
    """Before a model is opened."""
    (tmp_path / name).write_bytes(content)
    words = ("evaluate", f"{NAME}:int8", "--data", str(tmp_path / name))
    done = ovrecipe(*words, **workshop.how)
    assert (done.code, done.out) == (7, "")
    assert message in done.err


@pytest.mark.model
def test_what_the_manual_shows_runs(workshop: Workshop, ovrecipe: CommandLine) -> None:
    """With fewer tokens."""
    page = (REPOSITORY / "docs" / "evaluating.md").read_text("utf-8")
    commands = re.findall(r"^ovrecipe (.+)$", page, flags=re.MULTILINE)
    # The one with a task is in test_tasks.
    commands = [command for command in commands if "--task" not in command]
    assert len(commands) == 2
    text = "A recipe names a model, and a model becomes weights, a tokenizer and a prompt."
    (workshop.project.root / "texts.jsonl").write_text(json.dumps({"text": text}) + "\n")
    for command in commands:
        done = ovrecipe(*command.split(), *SHORT, **workshop.how)
        assert done.code == 0, done.err
        if "--json" in command:
            [row] = json.loads(done.out)["evaluations"]
            assert "mean_kl" in row
            assert "mean_kl_error" not in row


def test_what_is_not_built_is_said_with_the_command_that_builds_it(
    project: Project, ovrecipe: CommandLine
) -> None:
    """As `run` says it."""
    (project.recipes_dir / "m.yaml").write_text("model: {id: a/b}\nvariants: {int8: {}}\n")
    for target in ("m", "m:int8"):
        done = ovrecipe("evaluate", target, cwd=project.root)
        assert done.code == 10
        assert f"ovrecipe build {target}" in done.err
    assert ovrecipe("evaluate", "m:int4", cwd=project.root).code == 3


def test_a_variant_that_was_damaged_since_is_named(project: Project, ovrecipe: CommandLine) -> None:
    """Its figures would be those of nothing that was built; nor is it run, or timed."""
    write_recipe(project, "m", fake_recipe())
    publish_fakes(project, "m", "int4")
    weights = (project.models_dir / "m" / "int4" / "openvino_model.bin").resolve()
    weights.parent.chmod(0o755)
    weights.chmod(0o644)
    weights.write_text("assembly")  # as long as what was there
    for command in ("evaluate", "bench", "run"):
        words = ("hello",) if command == "run" else ()
        done = ovrecipe("-p", FAKE_PLUGIN, command, "m:int4", *words, cwd=project.root)
        assert done.code == 9, done.err
        assert "openvino_model.bin: " in done.said
        assert "verify --remove" in done.said


def test_a_build_that_did_not_ask_its_source_is_refused(project: Project, tmp_path: Path) -> None:
    """An older ovrecipe's."""
    store = Store(project.store_dir)
    key = Key("assemble", {"inputs": {}})
    with store.staging(key) as folder:
        model_dir = store.publish(key, folder)
    built = Built("m:int8", project, Artifact("int8", model_dir, tmp_path))
    with pytest.raises(NotBuilt, match="built by an older ovrecipe"):
        built.open_base()
