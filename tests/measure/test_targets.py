"""From names, devices and peers to what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovrecipe.errors import PromptRefused, RunError
from ovrecipe.measure.peers import LLAMA_CPP
from ovrecipe.measure.speed import Settings
from ovrecipe.measure.subject import Subject
from ovrecipe.measure.targets import subjects_of
from ovrecipe.recipe.load import load_recipe
from ovrecipe.recipe.project import Project
from tests.measure.making import make_tiny
from tests.sources.gguf_writing import write_gguf

SETTINGS = Settings((32, 512), (4,), 64, 1)


def chosen(
    project: Project,
    *targets: str,
    model: str = "./checkpoint",
    devices: tuple[str, ...] = ("CPU",),
    peers: tuple[str, ...] = (),
    settings: Settings = SETTINGS,
) -> list[Subject]:
    """Return the subjects that the words mean in a project with the recipe `tiny`."""
    make_tiny(project, model=model)
    return subjects_of(
        targets,
        settings,
        project=project,
        read=lambda name: load_recipe(project, name),
        devices=devices,
        peers=peers,
    )


def test_a_bare_name_is_all_that_is_built(project: Project) -> None:
    """In the recipe's order; what is not built cannot be measured. Nothing is measured twice."""
    subjects = chosen(project, "tiny", "tiny:int4")
    assert [subject.target for subject in subjects] == ["tiny:int8", "tiny:int4"]
    assert [subject.artifact for subject in subjects] == ["int8-key", "int4-key"]


def test_devices_and_peers_of_a_variant_stand_beside_it(project: Project) -> None:
    """So that they take turns with it."""
    subjects = chosen(project, "tiny:int4", devices=("CPU", "GPU"), peers=("optimum",))
    assert [subject.title for subject in subjects] == [
        "tiny:int4 on CPU",
        "tiny:int4 by optimum on CPU",
        "tiny:int4 on GPU",
        "tiny:int4 by optimum on GPU",
    ]
    assert subjects[0].versions["openvino-genai"]
    assert subjects[1].versions["optimum-intel"]


def test_llama_cpp_runs_the_file_that_the_recipe_names(project: Project) -> None:
    """Once for all variants, on the CPU, and known by the file's content."""
    gguf: Path = project.recipes_dir / "tiny.gguf"
    write_gguf(gguf, "llama", {"tokenizer.ggml.tokens": ["a", "b"]})
    *_, subject = chosen(project, "tiny", model="./tiny.gguf", devices=("GPU",), peers=(LLAMA_CPP,))
    assert (subject.title, subject.path) == ("tiny by llama-cpp on CPU", str(gguf))
    assert len(subject.artifact) == 64


def test_llama_cpp_is_refused_without_a_gguf(project: Project) -> None:
    """It reads nothing else."""
    with pytest.raises(RunError, match="--peer llama-cpp: tiny is not made from a GGUF") as caught:
        chosen(project, "tiny", peers=(LLAMA_CPP,))
    assert caught.value.remedy == "its source is ./checkpoint; leave the peer out"


@pytest.mark.parametrize(
    "settings", [Settings((32, 937), (), 64, 1), Settings((32,), (1,), 969, 1)]
)
def test_more_than_the_models_positions_is_refused(project: Project, settings: Settings) -> None:
    """Beyond them it would be measured at writing nonsense."""
    with pytest.raises(PromptRefused, match=r"tiny:int4 has 1000 positions, .* need 1001"):
        chosen(project, "tiny:int4", settings=settings)
