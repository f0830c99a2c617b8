"""`ovrecipe tune` and `sweep`: what they refuse, and a search on a real tiny model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ovrecipe.cli.tune_commands import limits_of
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import bundled_recipes_dir
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.conftest import REPOSITORY
from tests.tune.making import variant
from tests.twins import make_checkpoint

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project
    from ovrecipe.recipe.schema import Recipe
    from tests.conftest import CommandLine


@pytest.fixture
def fakes(project: Project) -> Project:
    """A project whose recipe could be built, had anybody the time."""
    variants = {
        "int4": {"group_size": 64, "compressor": "nncf"},
        "int8": {},
        "int4-twice": {"passes": [{"group_size": 64}, {"mode": "int8_sym"}]},
    }
    document = fake_recipe()
    document["variants"] = variants
    write_recipe(project, "m", document)
    return project


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tune", "nobody", "--max-kl", "0.1"), 3, "no recipe 'nobody' in recipes/"),
        (("tune", "m:int5", "--max-kl", "0.1"), 3, "recipe 'm' has no variant 'int5'"),
        (
            ("tune", "m:int8", "--max-kl", "0.1"),
            3,
            "m:int8 is int8; settings are searched for INT4",
        ),
        (("tune", "m:int4-twice", "--max-kl", "0.1"), 3, "has several passes"),
        (("tune", "m"), 2, "no limit to keep: give one, as --max-kl 0.1"),
        (("tune", "m", "--max-kl", "0"), 2, "--max-kl must be greater than 0, got 0"),
        (("tune", "m", "--max-kl", "-0.1"), 2, "--max-kl must be greater than 0, got -0.1"),
        (("tune", "m", "--max-kl", "nan"), 2, "--max-kl must be greater than 0, got nan"),
        (("tune", "m", "--min-same-top", "90"), 2, "--min-same-top must be greater than 0 and at"),
        (("sweep", "m"), 2, "nothing to sweep: give lists, as --group-size 32,64"),
        (
            ("sweep", "m", "--group-size", "64;32"),
            2,
            "--group-size takes whole numbers with commas",
        ),
        (("sweep", "m", "--group-size", "0"), 2, "--group-size: must be -1 (one group per"),
        (("sweep", "m", "--ratio", "0.5,2"), 2, "--ratio: must be at most 1, got 2"),
        (("sweep", "m", "--sym", "yes"), 2, "--sym takes true and false with commas, got 'yes'"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(
    fakes: Project, ovrecipe: CommandLine, words: tuple[str, ...], code: int, said: str
) -> None:
    """A search takes minutes; a mistake must not be found at its end."""
    done = ovrecipe("-p", FAKE_PLUGIN, *words, cwd=fakes.root)
    assert done.code == code
    assert said in done.said
    assert not (fakes.store_dir / "weights").exists()


def test_a_dry_run_lists_the_settings_and_makes_nothing(
    fakes: Project, ovrecipe: CommandLine
) -> None:
    """What is impossible by its knobs is named; sizes are not known without the checkpoint."""
    words = ("sweep", "m", "--sym", "true,false", "--scale-estimation", "false,true", "--dry-run")
    done = ovrecipe("-p", FAKE_PLUGIN, *words, cwd=fakes.root)
    assert done.code == 0, done.err
    assert re.findall(r"^(int4-\S+) +\?", done.out, re.MULTILINE) == [
        "int4-sym-g64-r1",
        "int4-asym-g64-r1",
    ]
    assert "impossible (2):" in done.out
    assert "scale_estimation: needs data; add 'dataset: generated'" in done.out
    assert not (fakes.store_dir / "source").exists()
    listed = json.loads(ovrecipe("-p", FAKE_PLUGIN, *words, "--json", cwd=fakes.root).out)
    assert [one["estimated_bytes"] for one in listed["candidates"]] == [None, None]
    assert [*listed["impossible"]] == ["int4-sym-g64-r1-scale", "int4-asym-g64-r1-scale"]


def test_the_recipes_own_limits_are_limits(fakes: Project, ovrecipe: CommandLine) -> None:
    """Whoever wrote `accept:` need not repeat it."""
    path = fakes.recipes_dir / "m.yaml"
    path.write_text(path.read_text() + "accept: {mean_kl: 0.2}\n")
    done = ovrecipe("-p", FAKE_PLUGIN, "tune", "m", "--dry-run", cwd=fakes.root)
    assert done.code == 0, done.err
    assert "int4-asym-g32-r0.5" in done.out


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"mean_kl": 0.1}, {"mean_kl": 0.1, "same_top": 0.9}),
        ({"mean_kl": 0.3}, {"mean_kl": 0.2, "same_top": 0.9}),
        ({"same_top": 0.8}, {"mean_kl": 0.2, "same_top": 0.9}),
        ({"same_top": 0.95, "perplexity_ratio": 1.1},
         {"mean_kl": 0.2, "same_top": 0.95, "perplexity_ratio": 1.1}),
    ],
)  # fmt: skip
def test_of_two_limits_the_stricter_one_holds(
    ovrecipe_recipe: Recipe, given: dict[str, float], kept: dict[str, float]
) -> None:
    """What is within a looser one would never get its name."""
    own = variant(accept={"mean_kl": 0.2, "same_top": 0.9})
    assert limits_of(ovrecipe_recipe, own, given).given() == kept


@pytest.fixture(scope="module")
def twin_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tiny model, whose store the tests of this module share."""
    root = tmp_path_factory.mktemp("tuned")
    checkpoint_dir = make_checkpoint(root / "checkpoint", "llama")
    (root / "recipes").mkdir()
    document = {
        "model": {"id": str(checkpoint_dir)},
        "prompt": {"chat_template": "model"},
        "variants": {"int4": {"group_size": 64, "ratio": 1.0}},
    }
    text = yaml.safe_dump(document, sort_keys=False)
    (root / "recipes" / "twin.yaml").write_text(f"# Tuned by a test.\n{text}")
    return root


LISTS = ("--group-size", "16,64,48", "--ratio", "0.5,1.0")
TUNE = ("-p", "no:all", "tune", "twin", *LISTS, "--sym", "false", "--awq", "false")


def swept(root: Path, ovrecipe: CommandLine) -> dict[str, Any]:
    done = ovrecipe("sweep", "twin", *LISTS, "--json", cwd=root)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def tuned(root: Path, ovrecipe: CommandLine, *words: str) -> dict[str, Any]:
    done = ovrecipe(*TUNE, *words, cwd=root)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def weights_in(root: Path) -> set[str]:
    return {path.name for path in (root / "store" / "weights").glob("*")}


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_a_search_that_is_stopped_goes_on_where_it_was(
    twin_root: Path, ovrecipe: CommandLine
) -> None:
    """What was measured before Ctrl-C is read; a point that is impossible is named and left out."""
    command = [sys.executable, "-m", "ovrecipe", "sweep", "twin", *LISTS]
    with subprocess.Popen(command, cwd=twin_root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        measured = next(line for line in process.stderr if line.rstrip().endswith("left"))
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "stopped; what was measured is kept" in rest
    kept = weights_in(twin_root)
    first = measured.split(":")[0]
    found = swept(twin_root, ovrecipe)
    assert first in {one["name"] for one in found["measured"]}
    assert len(found["measured"]) == 4
    assert kept < weights_in(twin_root)
    assert len(weights_in(twin_root)) == 4
    assert {*found["impossible"]} == {"int4-asym-g48-r0.5", "int4-asym-g48-r1"}
    assert all("group_size 48 does not divide" in why for why in found["impossible"].values())


@pytest.mark.model
def test_the_smallest_within_the_limits_is_written_and_needs_no_other_build(
    twin_root: Path, ovrecipe: CommandLine
) -> None:
    """Nothing is computed twice: not by a second search, nor by the build of what was chosen."""
    by_size = sorted(swept(twin_root, ovrecipe)["measured"], key=lambda one: one["size_bytes"])
    kls = [one["figures"]["mean_kl"] for one in by_size]
    limit = (kls[0] + min(kls)) / 2
    wanted = next(one for one in by_size if one["figures"]["mean_kl"] <= limit)
    made = weights_in(twin_root)
    done = ovrecipe(*TUNE, "--max-kl", str(limit), cwd=twin_root)
    assert done.code == 0, done.err
    assert re.search(rf"^{wanted['name']} .*chosen", done.out, re.MULTILINE)
    assert re.search(r"^  1,\d+ tokens ", done.out, re.MULTILINE)
    path = twin_root / "recipes" / "twin.yaml"
    assert path.read_text().startswith("# Tuned by a test.\n")
    int4 = load_recipe_file(path).variants["int4"]
    assert {name: getattr(int4, name) for name in wanted["knobs"]} == wanted["knobs"]
    built = ovrecipe("build", "twin", "--json", cwd=twin_root)
    assert built.code == 0, built.err
    assert json.loads(built.out)["ran"] == []
    assert weights_in(twin_root) == made


@pytest.mark.model
def test_limits_that_nothing_keeps_name_the_closest_and_leave_the_recipe(
    twin_root: Path, ovrecipe: CommandLine
) -> None:
    """The exit code is a gate's."""
    path = twin_root / "recipes" / "twin.yaml"
    before = path.read_bytes()
    found = swept(twin_root, ovrecipe)["measured"]
    best = min(found, key=lambda one: one["figures"]["mean_kl"])
    done = ovrecipe(*TUNE, "--max-kl", "1e-12", cwd=twin_root)
    assert done.code == 8
    assert "no setting is within the limits; the recipe is as it was" in done.said
    assert f"the closest is {best['name']}, " in done.said
    assert "mean_kl is" in done.said
    assert path.read_bytes() == before


@pytest.mark.model
def test_what_wins_is_compared_as_evaluate_compares_it(
    twin_root: Path, ovrecipe: CommandLine
) -> None:
    """The figures are the same; a second search reads them, also when the base was collected."""
    words = ("--max-kl", "1", "--tokens", "128", "--json")
    found = tuned(twin_root, ovrecipe, *words)
    [best] = [one for one in found["measured"] if one["name"] == found["chosen"]]
    assert best["longer_figures"]["tokens"] <= 128
    assert [one["name"] for one in found["measured"] if one["longer_figures"]] == [best["name"]]
    built = ovrecipe("build", "twin", cwd=twin_root)
    assert built.code == 0, built.err
    evaluated = ovrecipe("evaluate", "twin:int4", "--tokens", "128", "--json", cwd=twin_root)
    [row] = json.loads(evaluated.out)["evaluations"]
    assert best["longer_figures"].items() <= row.items()
    artifact = (twin_root / "models" / "twin" / "int4").resolve().name
    paths = (twin_root / "store" / ".cache" / artifact).glob("figures-*.json")
    [kept] = [path for path in paths if '"tokens": 1940' not in path.read_text()]
    kept.write_text(kept.read_text().replace('"tokens": ', '"tokens": 1'))
    again = tuned(twin_root, ovrecipe, *words)
    [read] = [one for one in again["measured"] if one["name"] == again["chosen"]]
    assert read["longer_figures"]["tokens"] > 1000, "it is read, not measured"
    kept.write_text("{")
    shutil.rmtree(twin_root / "store" / "base")
    for said in (twin_root / "store" / ".cache").rglob("evaluation"):
        shutil.rmtree(said)
    assert tuned(twin_root, ovrecipe, *words)["measured"] == found["measured"]


@pytest.mark.model
@pytest.mark.slow
def test_the_fastest_is_found_among_artifacts_without_a_name(
    twin_root: Path, ovrecipe: CommandLine
) -> None:
    """Each is timed in a process of its own; a second search times nothing anew."""
    words = ("--max-kl", "1", "--tokens", "128", "--fastest", "--device", "AUTO", "--json")
    done = ovrecipe(*TUNE, *words, "--group-size", "16,64", "--ratio", "1.0", cwd=twin_root)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    speeds = {one["name"]: one["tokens_a_second"] for one in found["measured"]}
    assert len(speeds) == 2
    assert max(len(one["samples"]) for one in speeds.values()) == 3
    assert speeds[found["chosen"]]["median"] > 0
    assert re.search(r"speed int4-asym-g64-r1: measuring on AUTO, round 1 of 3", done.err)
    again = ovrecipe(*TUNE, *words, "--group-size", "16,64", "--ratio", "1.0", cwd=twin_root)
    assert "measuring on" not in again.err
    assert json.loads(again.out) == found


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--device", "CPU"), 2, "--device is where --fastest measures"),
        (("--device", "NOWHERE", "--fastest"), 11, "NOWHERE"),
        (("--device", "", "--fastest"), 11, "OpenVINO sees no ''"),
    ],
)
def test_a_device_is_looked_at_before_anything_is_built(
    project: Project, ovrecipe: CommandLine, words: tuple[str, ...], code: int, says: str
) -> None:
    """Neither an option without effect nor a device that is not there costs a search."""
    name = "smollm2-135m.yaml"
    (project.recipes_dir / name).write_bytes((bundled_recipes_dir() / name).read_bytes())
    done = ovrecipe("tune", "smollm2-135m", "--max-kl", "1", *words, cwd=project.root)
    assert done.code == code
    assert says in done.err


DOCUMENTED = re.findall(
    r"^ovrecipe ((?:tune|sweep) .*)$",
    (REPOSITORY / "docs" / "tuning.md").read_text("utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("words", DOCUMENTED)
def test_what_the_manual_shows_can_be_typed(
    project: Project, ovrecipe: CommandLine, words: str
) -> None:
    """Its model is the one that `ovrecipe init` brings."""
    name = "smollm2-135m.yaml"
    (project.recipes_dir / name).write_bytes((bundled_recipes_dir() / name).read_bytes())
    done = ovrecipe(*words.split(), "--dry-run", cwd=project.root)
    assert done.code == 0, done.err
    assert "int4-asym-g64-r1" in done.out
