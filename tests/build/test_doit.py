"""doit's own commands on a project, each in a process as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ovrecipe.build.dodo import WorkAction, all_tasks
from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN, fake_recipe, write_recipe
from tests.build.test_stages_run import store_leftovers
from tests.conftest import REPOSITORY, CommandLine

pytestmark = pytest.mark.slow

DODO = REPOSITORY / "dodo.py"
OVRECIPE = "from ovrecipe.cli.main import application; application()(['{}'], standalone_mode=False)"
HEAVY = {
    "openvino",
    "openvino_genai",
    "nncf",
    "optimum",
    "transformers",
    "torch",
    "huggingface_hub",
}


def python(
    project: Project, *words: str, dodo: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder or one below it, with its store."""
    (project.root / "dodo.py").write_text(dodo or DODO.read_text())
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd or project.root,
        env={**os.environ, "OVRECIPE_STORE": str(project.store_dir)},
        capture_output=True,
        text=True,
        check=False,
    )


#: A project's dodo.py that loads the fake plugin, as `-p` does for `ovrecipe build`.
DODO_WITH_PLUGIN = f"""
from pathlib import Path
from ovrecipe.build.dodo import DOIT_CONFIG, all_tasks

def task_recipes():
    yield from all_tasks(Path(__file__).parent, plugin_options=({FAKE_PLUGIN!r},))
"""


def doit(
    project: Project, *words: str, dodo: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run doit in the project's folder, or in one below it."""
    return python(project, "-m", "doit", *words, dodo=dodo, cwd=cwd)


def heavy_imports(project: Project, script: str) -> set[str]:
    """Return the heavy libraries that a script leaves imported."""
    report = "\nimport sys; print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    done = python(project, "-c", script + report)
    assert done.returncode == 0, done.stderr
    modules = done.stdout.rpartition("MODULES ")[2].split()
    assert "ovrecipe" in modules
    return HEAVY & {*modules}


@pytest.mark.usefixtures("capsys")  # whose standard output may be changed
@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["build:m"], {"m", "drafted"}),
        (["run", "--continue", "-n", "2", "build:other:int4"], {"other"}),
        (["build:m", "build:other"], {"m", "drafted", "other"}),
        # Tasks of other names may be any recipe's.
        (["build:*"], {"m", "drafted", "other"}),
        (["build:other", "base:m"], {"m", "drafted", "other"}),
        (["clean", "build:other"], {"m", "drafted", "other"}),
        (["build:other", "name=value"], {"m", "drafted", "other"}),
        (["list"], {"m", "drafted", "other"}),
        ([], {"m", "drafted", "other"}),
    ],
)
def test_only_what_is_asked_for_has_tasks_where_recipes_are_named(
    project: Project, words: list[str], read: set[str]
) -> None:
    """With it what its stages read of another recipe; a folder may hold hundreds."""
    drafted = {"int4": {"compressor": "fake", "draft": {"recipe": "drafted:int4"}}}
    write_recipe(project, "m", {**fake_recipe(), "variants": drafted})
    for name in ("drafted", "other"):
        write_recipe(project, name, fake_recipe())
    tasks = all_tasks(project.root, plugin_options=(FAKE_PLUGIN,), words=words)
    names = {task["basename"] for task in tasks}
    assert {name.split(":")[1] for name in names if name.startswith("build:")} == read


@pytest.mark.usefixtures("capsys")
@pytest.mark.parametrize("word", ["-c", "--continue"])
def test_doit_is_told_to_keep_going_as_the_command_is(project: Project, word: str) -> None:
    """A variant that is refused then keeps no other one from being built."""
    write_recipe(project, "m", fake_recipe())
    found = {
        told: {
            action.context.keep_going
            for task in all_tasks(project.root, plugin_options=(FAKE_PLUGIN,), words=words)
            for action in task.get("actions") or ()
            if isinstance(action, WorkAction)
        }
        for told, words in ((True, [word, "build:m"]), (False, ["build:m"]))
    }
    assert found == {True: {True}, False: {False}}


def test_list_names_every_recipe_and_stage(project: Project) -> None:
    """`doit list` is the table of contents."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "list")
    assert done.returncode == 0
    assert "build:m " in done.stdout
    assert "build:m:int4 " in done.stdout
    assert "made:checkpoint as int4, int4-other" in done.stdout
    assert "weights" in done.stdout


def test_a_broken_recipe_does_not_hide_the_others(project: Project) -> None:
    """Its own task says what is wrong with it; the rest works."""
    write_recipe(project, "good", fake_recipe())
    (project.recipes_dir / "bad.yaml").write_text("model: [")
    listed = doit(project, "list")
    assert "build:good " in listed.stdout
    assert "build:bad " in listed.stdout
    for words, code in ((["build:bad"], 3), (["clean", "build:bad"], 3), (["build:ba*"], 1)):
        done = doit(project, *words)
        assert done.returncode == code
        assert "bad.yaml:" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr


def test_info_shows_the_inputs_of_a_stage(project: Project) -> None:
    """`doit info` answers what a task waits for."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "info", "weights:m:int4")
    assert "base:m" in done.stdout
    assert "<weights m:int4>" in done.stdout
    assert done.stderr == ""


def test_bare_doit_says_what_can_be_built(project: Project) -> None:
    """Building every model there is would surprise."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project)
    assert done.returncode == 0
    assert "doit build:m" in done.stdout
    assert not (project.store_dir / "source").exists()


def test_an_unknown_plugin_provider_is_an_error_of_its_task(project: Project) -> None:
    """The list still works; building names the provider and the recipe's plugin."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "build:m")
    assert done.returncode != 0
    assert "made" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["run", "clean", "info", "list"])
@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("build:smoll", "no recipe 'smoll' in recipes/; perhaps you meant 'smol'"),
        ("build:smol:int5", "recipe 'smol' has no variant 'int5'; perhaps you meant 'smol:int4'"),
        ("build:smol:", "it is written NAME:VARIANT"),
    ],
)
def test_a_name_that_nothing_has_is_told_with_the_closest(
    project: Project, task: str, said: str, command: str
) -> None:
    """Doit itself would only say that it is not a task; whatever it is asked to do with it."""
    write_recipe(project, "smol", fake_recipe())
    done = doit(project, command, task)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_nothing_has_is_told_before_anything_is_built(project: Project) -> None:
    """As `ovrecipe build` does: an hour later is too late."""
    write_recipe(project, "m", fake_recipe())
    done = doit(project, "build:m", "build:n", dodo=DODO_WITH_PLUGIN)
    assert (done.returncode, done.stdout) == (3, "")
    assert not (project.store_dir / "base").exists()


#: What doit is asked for whose output is lost; in threads its reporter writes from there.
LOSING = [
    ("list",),
    ("list", "--all"),
    ("info", "base:m"),
    ("clean", "build:m"),
    ("build:m",),
    ("-n", "2", "build:m"),
]


@pytest.mark.parametrize("words", LOSING, ids=" ".join)
@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">&-", 1, "ovrecipe: standard output is closed\n"),
        (">/dev/full", 9, "ovrecipe: standard output: no space left on device\n"),
        ("| true", 141, ""),
    ],
)
def test_an_output_that_nobody_has_ends_doit_as_it_ends_ovrecipe(
    project: Project, words: tuple[str, ...], redirection: str, code: int, said: str
) -> None:
    """A line at most, no traceback, and our exit code."""
    write_recipe(project, "m", fake_recipe(model={"id": "made:none"}))
    (project.root / "dodo.py").write_text(DODO_WITH_PLUGIN)
    if redirection == "| true":
        reading, writing = os.pipe()
        os.close(reading)
        shell, out = 'exec "$@"', writing
    else:
        shell, out = f'exec "$@" {redirection}', subprocess.DEVNULL
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "doit", *words],
        cwd=project.root, stdout=out, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if out != subprocess.DEVNULL:
        os.close(out)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_reader_that_wants_one_line_gets_it(project: Project) -> None:
    """`doit list --all | head -1` with a list that is longer than a pipe holds."""
    for number in range(300):
        write_recipe(project, f"m{number}", fake_recipe())
    (project.root / "dodo.py").write_text(DODO_WITH_PLUGIN)
    with subprocess.Popen(
        [sys.executable, "-m", "doit", "list", "--all"],
        cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("assemble ")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_all_that_is_asked_for_is_judged_before_the_first_long_stage(project: Project) -> None:
    """After an hour's export of one variant is too late to refuse another."""
    variants = {"int4-b": {"compressor": "refusing"}, "int8": {"compressor": "refusing"}}
    write_recipe(project, "m", fake_recipe(variants=variants))
    for words in (("build:m",), ("build:m:*",), ("build:m:int4", "build:m:int8", "build:m:int4-b")):
        done = doit(project, *words, dodo=DODO_WITH_PLUGIN)
        assert done.returncode == 1
        assert (
            "variants.int4-b: int4 is beyond me\nvariants.int8: int8 is beyond me\n"
            "  change the recipe, then build again\n"
        ) in done.stdout
        assert not (project.store_dir / "base").exists()
    done = doit(project, "weights:m:int4", dodo=DODO_WITH_PLUGIN)
    assert "beyond me" in done.stdout


def test_a_variant_that_was_not_asked_for_is_not_judged(project: Project) -> None:
    """One that cannot be built is in nobody's way."""
    variants = {"int8": {"compressor": "refusing"}}
    write_recipe(project, "m", fake_recipe(variants=variants))
    done = doit(project, "--continue", "build:m:int4", dodo=DODO_WITH_PLUGIN)
    assert "beyond me" not in done.stdout
    assert (project.store_dir / "weights").exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", [(), ("-n", "2")], ids=["alone", "in threads"])
def test_a_stopped_run_leaves_nothing_and_says_so(
    project: Project, pipe: Path, jobs: tuple[str, ...], ending: signal.Signals
) -> None:
    """Doit's door is as clean as ours: no process, no folder, no traceback, one line."""
    (project.root / "dodo.py").write_text(DODO_WITH_PLUGIN)
    write_recipe(project, "m", fake_recipe(model={"exporter": "hangs"}))
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *jobs, "base:m"],
        cwd=project.root,
        env={**os.environ, "OVRECIPE_STORE": str(project.store_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with pipe.open() as hanging:
        assert hanging.readline() == "begun\n"
        process.send_signal(ending)
        out, err = process.communicate()
        assert hanging.read() == "", "the pipe ends when the last process has ended"
    assert process.returncode == 130
    assert out.endswith("stopped; finished stages are kept, build again to go on\n")
    assert "Traceback" not in out + err
    assert store_leftovers(project) == []


def test_a_task_of_the_user_ends_doit_with_its_own_words(project: Project) -> None:
    """Its `sys.exit` is not one of ours, which carry a number."""
    own = "import sys\n\ndef task_own():\n    return {'actions': [lambda: sys.exit('mine')]}\n"
    done = doit(project, "own", dodo=DODO_WITH_PLUGIN + own)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "mine")


def test_a_subfolder_of_a_project_finds_it(ovrecipe: CommandLine, project: Project) -> None:
    """Doit looks upwards when it is told to; ovrecipe does it by itself."""
    write_recipe(project, "m", fake_recipe())
    below = project.root / "notes" / "today"
    below.mkdir(parents=True)
    assert "build:m:int4 " in doit(project, "list", "-k", cwd=below).stdout
    done = ovrecipe("build", "m:int4", cwd=below)
    assert "exporter 'fine'" in done.said


def test_a_dodo_without_a_project_says_what_to_do(project: Project) -> None:
    """Its folder was moved away from the recipes, or copied without them."""
    project.recipes_dir.rmdir()
    done = doit(project, "list")
    assert done.returncode == 3
    assert done.stderr.startswith("ERROR: no recipes folder in ")
    assert "ovrecipe init" in done.stderr
    assert "Traceback" not in done.stderr


def test_clean_of_a_recipe_takes_all_its_names(project: Project) -> None:
    """Also those of optional variants, which `build:NAME` does not build."""
    variants = {"int4-other": {"optional": True}}
    write_recipe(project, "m", fake_recipe(variants=variants))
    for variant in ("int4", "int4-other"):
        view = project.models_dir / "m" / variant
        view.parent.mkdir(parents=True, exist_ok=True)
        view.symlink_to(project.root)
    done = doit(project, "clean", "build:m", dodo=DODO_WITH_PLUGIN)
    assert done.returncode == 0
    assert "\nremoved models/m/int4\n" in done.stdout
    assert "\nremoved models/m/int4-other\n" in done.stdout
    assert "build:m - executing 'remove what build m:int4 made'\n" in done.stdout
    assert not (project.models_dir / "m").exists()


@pytest.mark.parametrize(
    "script",
    [
        "from doit.doit_cmd import DoitMain; DoitMain().run(['list'])",
        OVRECIPE.format("--help"),
        OVRECIPE.format("list"),
        "import ovrecipe",
    ],
)
def test_looking_loads_no_heavy_library(project: Project, script: str) -> None:
    """Half a second of imports for a list would be felt every time."""
    write_recipe(project, "m", fake_recipe())
    assert not heavy_imports(project, script)


@pytest.mark.model
def test_a_build_with_nothing_to_do_loads_no_heavy_library(smollm2_project: Project) -> None:
    """The store is asked with a few stats."""
    script = "from doit.doit_cmd import DoitMain; print(DoitMain().run(['build:smollm2-135m']))"
    assert not heavy_imports(smollm2_project, script)


@pytest.mark.model
def test_nothing_changed_runs_nothing(smollm2_project: Project) -> None:
    """Every line of doit starts with the two dashes of what is up to date."""
    done = doit(smollm2_project, "build:smollm2-135m")
    assert done.returncode == 0
    assert {line[:3] for line in done.stdout.splitlines()} == {"-- "}


@pytest.mark.model
def test_clean_removes_the_name_and_building_brings_it_back(smollm2_project: Project) -> None:
    """The artifact stays in the store, so nothing heavy runs again."""
    view = smollm2_project.models_dir / "smollm2-135m" / "int8"
    assert doit(smollm2_project, "clean", "build:smollm2-135m:int8").returncode == 0
    assert not view.exists()
    done = doit(smollm2_project, "build:smollm2-135m:int8")
    assert view.exists()
    assert ".  build smollm2-135m:int8" in done.stdout
    assert ".  weights" not in done.stdout
