"""`ovrecipe new`, `get`, `init` and `schema`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.project import Project, find_project, name_objection
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, TASKS
from ovrecipe.recipe.writing import GENERAL_INT4, draft_name, draft_text, int4_knobs, schema_text
from tests.build.making import FAKE_PLUGIN, fake_recipe, publish_fakes
from tests.loopback_hub import loopback_hub
from tests.sources.requests import checkpoint_files

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.conftest import CommandLine

WITHOUT_OPTIMUM = """
import sys
from importlib.machinery import PathFinder

class Hidden(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] == "optimum":
            return None
        return super().find_spec(name, path, target)

sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder] + [Hidden]
from ovrecipe.cli.main import main
main()
"""


def new_without_optimum(*args: str) -> subprocess.CompletedProcess[str]:
    """Run `ovrecipe new` as in an installation without the build packages."""
    command = [sys.executable, "-c", WITHOUT_OPTIMUM, "new", *args]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_new_without_optimum_writes_general_values_and_says_so(project: Path) -> None:
    """A machine that only runs models can still write a recipe."""
    done = new_without_optimum("Some-Org/My_Model")
    assert (done.returncode, done.stdout.strip()) == (
        0,
        str(project / "recipes" / "my_model.yaml"),
    )
    assert "optimum-intel is not installed" in done.stderr
    recipe = load_recipe_file(Path(done.stdout.strip()))
    assert recipe.model.id == "Some-Org/My_Model"
    assert recipe.variants["int4"].group_size == GENERAL_INT4["group_size"]


def test_new_says_a_relative_path_as_the_recipe_sees_it(project: Path) -> None:
    """A user types a path from where they stand; a recipe's paths start at its own folder."""
    pickled_checkpoint(project / "ckpt")
    (project / "recipes" / "x.gguf").write_bytes(b"GGUF\x03" + bytes(19))
    for typed, written in (
        ("./ckpt", "../ckpt"),
        ("local:ckpt", "local:../ckpt"),
        ("./recipes/x.gguf", "./x.gguf"),
        ("gguf:recipes/x.gguf", "gguf:./x.gguf"),
        (str(project / "ckpt"), str(project / "ckpt")),
    ):
        done = new_without_optimum(typed, "--name", "n", "--force")
        assert load_recipe_file(Path(done.stdout.strip())).model.id == written


def pickled_checkpoint(folder: Path) -> None:
    """Write a checkpoint that only a recipe with `allow_pickle` may use."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")


@pytest.mark.parametrize(
    ("model_id", "said"),
    [
        ("./nowhere", "nowhere: there is no such directory\n  give a checkpoint's directory"),
        ("../z", "../z: there is no such directory\n  give"),
        ("~/z", "/home-of-tests/z: there is no such directory\n  give"),
        ("local:nope", "nope: there is no such directory\n  give"),
        ("./recipes/one.yaml", "is a file; a local model.id is a checkpoint's directory or"),
        ("./recipes", "recipes: has no config.json, so it is no transformers checkpoint"),
        (
            "gguf:nope.gguf",
            "nope.gguf: there is no such GGUF file\n  give the path of a .gguf file",
        ),
        ("gguf:recipes/one.yaml", "one.yaml: is not a GGUF file"),
        ("dist:nope/x", "names no .gguf file inside a distribution\n  write dist:DISTRIBUTION/"),
        (
            "dist:nope/x.gguf",
            "distribution 'nope', which carries the model, is not installed\n  pip",
        ),
        ("dist:pytest/x.gguf", "has no file x.gguf"),
    ],
)
def test_new_refuses_what_is_not_on_this_machine(
    project: Path, ovrecipe: CommandLine, model_id: str, said: str
) -> None:
    """A recipe for it could not be built, and nobody would know why it was written."""
    before = sorted(project.rglob("*"))
    done = ovrecipe("new", "--name", "fresh", model_id, env={"HOME": "/home-of-tests"})
    assert done.code == 5
    assert said in done.err
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize("task", list(TASKS))
def test_new_writes_what_a_task_has(project: Path, ovrecipe: CommandLine, task: str) -> None:
    """And nothing of other tasks, which the recipe would be refused for."""
    assert ovrecipe("new", "org/vectors", "--task", task).code == 0
    assert load_recipe_file(project / "recipes" / "vectors.yaml").task == task
    assert ovrecipe("validate", "vectors").code == 0
    assert ovrecipe("new", "org/other", "--task", "text-translation").code == 2


@pytest.mark.parametrize(
    ("files", "task"),
    [
        ({"modules.json": "[]", "config.json": "{}"}, "text-embedding"),
        ({"config.json": '{"architectures": ["BertForSequenceClassification"]}'}, "text-rerank"),
        ({"config.json": '{"architectures": ["LlamaForCausalLM"]}'}, "text-generation"),
        ({"config.json": '{"architectures": "?"}'}, "text-generation"),
    ],
)
def test_new_sees_what_a_directory_is_for(
    project: Path, ovrecipe: CommandLine, files: dict[str, str], task: str
) -> None:
    """By the files that its authors' libraries read."""
    (project / "vectors").mkdir()
    for name, text in {**files, "model.safetensors": "", "tokenizer.json": "{}"}.items():
        (project / "vectors" / name).write_text(text)
    done = ovrecipe("new", "./vectors")
    assert done.code == 0, done.err
    assert load_recipe_file(project / "recipes" / "vectors.yaml").task == task


def test_new_never_writes_over_a_recipe_unless_forced(project: Path) -> None:
    """A recipe is work."""
    refused = new_without_optimum("org/name", "--name", "one")
    assert refused.returncode == 12
    assert "one.yaml exists" in refused.stderr
    assert "--force" in refused.stderr
    assert new_without_optimum("org/name", "--name", "one", "--force").returncode == 0


def test_new_refuses_a_name_that_is_a_path(project: Path) -> None:
    """The file must lie in recipes/."""
    done = new_without_optimum("org/name", "--name", "../x")
    assert done.returncode == 3
    assert "is no recipe name" in done.stderr


def test_new_refuses_what_no_hub_could_have(project: Path) -> None:
    """A recipe for it could never be built."""
    done = new_without_optimum("x y/z")
    assert done.returncode == 3
    assert "'x y/z' is no hub id" in done.stderr
    assert not (project / "recipes" / "z.yaml").exists()


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # optimum warns while it is imported
def test_new_takes_values_from_optimum_intel(project: Path, ovrecipe: CommandLine) -> None:
    """Somebody measured which knobs suit a model."""
    assert ovrecipe("new", "Qwen/Qwen3-1.7B").code == 0
    int4 = load_recipe_file(project / "recipes" / "qwen3-1.7b.yaml").variants["int4"]
    assert (int4.sym, int4.group_size, int4.ratio) == (True, 64, 1.0)
    assert (int4.awq, int4.scale_estimation, int4.dataset) == (True, True, "generated")
    assert ovrecipe("validate").code == 0


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # optimum warns while it is imported
def test_every_tuned_configuration_of_optimum_becomes_a_valid_recipe(tmp_path: Path) -> None:
    """A table of seventy models, of which nobody tries all by hand."""
    from optimum.intel.openvino.configuration import _DEFAULT_4BIT_WQ_CONFIGS

    for model_id, tuned in _DEFAULT_4BIT_WQ_CONFIGS.items():
        path = tmp_path / f"{draft_name(model_id)}.yaml"
        assert int4_knobs(tuned), model_id
        path.write_text(draft_text(model_id, int4_knobs(tuned), "x"))
        int4 = load_recipe_file(path).variants["int4"]
        for compression in int4.compression_passes():
            assert not [*NncfCompressor().objections(compression, "int4")], model_id
    assert len(_DEFAULT_4BIT_WQ_CONFIGS) > 50


@given(model_id=st.text(min_size=1))
@example("org/Con")
def test_any_model_id_gives_a_usable_recipe_name(model_id: str) -> None:
    """Ids are paths, hub ids or anything a plugin knows."""
    assert name_objection(draft_name(model_id)) is None


def test_a_draft_keeps_its_model_id_whatever_it_is(tmp_path: Path) -> None:
    """Quotes, colons and words that YAML takes for something else."""
    for model_id in (
        "no",
        "./a: b",
        './say "hi"',
        "C:\\x",
        "12",
        "./é",
        "s3:{a}",
        "./x #y",
        "123e4",
    ):
        path = tmp_path / "r.yaml"
        path.write_text(draft_text(model_id, GENERAL_INT4, "x"), encoding="utf-8")
        assert load_recipe_file(path).model.id == model_id


def test_optimums_words_become_ours() -> None:
    """Optimum calls two knobs otherwise, and some configurations have parts."""
    tuned = {"bits": 4, "sym": True, "quant_method": "awq", "backup_precision": "none"}
    assert int4_knobs(tuned) == {"sym": True, "awq": True, "backup_mode": "none"}
    parts = {"quantization_configs": {"lm_model": {"bits": 4, "group_size": 64}}}
    assert int4_knobs(parts) == {"group_size": 64}
    steps = {"quantization_config1": {"bits": 4}, "quantization_config2": {"bits": 8, "sym": False}}
    assert int4_knobs(steps) == {"passes": [{}, {"mode": "int8_asym"}]}


def test_init_makes_a_project_whose_recipe_is_valid(
    project: Path, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands it prints can be typed next."""
    done = ovrecipe("init", "mine")
    assert done.code == 0
    assert "cd mine" in done.out
    assert "ovrecipe build smollm2-135m" in done.out
    made = project / "mine"
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert names == [
        ".gitignore",
        "dodo.py",
        "recipes/recipe.schema.json",
        "recipes/smollm2-135m.yaml",
    ]
    monkeypatch.chdir(made)
    assert find_project(made, {}).root == made
    assert ovrecipe("validate", "smollm2-135m").out == "smollm2-135m: OK\n"


def test_init_never_writes_over_a_file(project: Path, ovrecipe: CommandLine) -> None:
    """Nothing at all is written when something is in the way."""
    (project / "recipes" / "smollm2-135m.yaml").write_text("mine")
    done = ovrecipe("init", ".")
    assert done.code == 12
    assert "smollm2-135m.yaml exists" in done.err
    assert not (project / "dodo.py").exists()
    assert (project / "recipes" / "smollm2-135m.yaml").read_text() == "mine"


def test_init_keeps_an_existing_gitignore(project: Path, ovrecipe: CommandLine) -> None:
    """A repository has one already."""
    (project / ".gitignore").write_text("mine\n")
    assert ovrecipe("init", ".").code == 0
    assert (project / ".gitignore").read_text() == "mine\n"


def test_init_writes_the_dodo_of_this_repository(project: Path, ovrecipe: CommandLine) -> None:
    """One door to doit, tried every day."""
    assert ovrecipe("init", "mine").code == 0
    own = (Path(__file__).parents[2] / "dodo.py").read_text("utf-8")
    assert (project / "mine" / "dodo.py").read_text("utf-8") == own


def test_schema_prints_or_writes(project: Path, ovrecipe: CommandLine) -> None:
    """Editors read a file, programs a stream."""
    assert ovrecipe("schema").out == schema_text()
    assert ovrecipe("schema", "--write", "s.json").code == 0
    assert (project / "s.json").read_text("utf-8") == schema_text()
    refused = ovrecipe("schema", "--write", "no/such/s.json")
    assert refused.code == 12
    assert "cannot be written" in refused.err


@pytest.mark.parametrize("name", ["list", "show", "validate", "new", "init", "schema"])
def test_help_teaches_with_an_example(project: Path, ovrecipe: CommandLine, name: str) -> None:
    """A sentence of what, then something to type."""
    done = ovrecipe(name, "--help")
    assert done.code == 0
    assert f"Example: ovrecipe {name}" in done.out


@pytest.mark.parametrize(
    "model_id", ["x y/z", "a/b/c", "org/", "a--b", "org/name.git", "-x", "ö/x", "a" * 97]
)
def test_new_refuses_what_is_no_model_id(
    project: Path, ovrecipe: CommandLine, model_id: str
) -> None:
    """The hub would refuse it only after a recipe was written and a build begun."""
    before = sorted(project.rglob("*"))
    done = ovrecipe("new", "--name", "fresh", "--", model_id)
    assert done.code == 3
    assert f"'{model_id}' is no hub id" in done.err
    assert sorted(project.rglob("*")) == before


def test_new_refuses_a_source_that_nobody_provides(project: Path, ovrecipe: CommandLine) -> None:
    """A slip in the scheme, or a plugin that is not installed."""
    done = ovrecipe("new", "dits:package/file")
    assert done.code == 4
    assert "no plugin provides the source 'dits'" in done.err
    assert not (project / "recipes" / "file.yaml").exists()


def test_get_writes_a_recipe_builds_and_goes_on_where_it_failed(
    project: Path, ovrecipe: CommandLine
) -> None:
    """What was written stays, so the same command can be given again."""
    pickled_checkpoint(project / "gone")
    done = ovrecipe("get", "./gone", "--name", "fresh")
    assert done.code == 5
    assert load_recipe_file(project / "recipes" / "fresh.yaml").model.id == "../gone"
    again = ovrecipe("get", "./gone", "--name", "fresh")
    assert again.code == 5
    assert "taking the recipe fresh as it is" in again.err


def test_get_takes_no_recipe_of_another_model(project: Path, ovrecipe: CommandLine) -> None:
    """One name must not stand for two models."""
    done = ovrecipe("get", "other/name", "--name", "one")
    assert done.code == 12
    assert "one.yaml is there, for org/name" in done.err


def test_get_of_what_is_built_asks_at_once(
    project: Path, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or, told so, asks nothing."""
    (project / "recipes" / "one.yaml").write_text(yaml.safe_dump(fake_recipe()))
    publish_fakes(find_project(project, {}), "one", "int4")
    words = ("-p", FAKE_PLUGIN, "get", "made:checkpoint", "--name", "one")
    built = ovrecipe(*words, "--no-run")
    assert built.code == 0
    assert "Nothing to do: everything is built and checked." in built.out
    asked = ovrecipe(*words, "--ask", "Why?")
    assert '$ ovrecipe run one:int4 "Why?"' in asked.err
    assert asked.code == 11  # what was published is no model


def test_get_asks_nothing_of_what_writes_no_text(project: Path, ovrecipe: CommandLine) -> None:
    """It says which command does; and the recipe's task is what it was."""
    recipe = fake_recipe()
    del recipe["prompt"]
    (project / "recipes" / "one.yaml").write_text(yaml.safe_dump({**recipe, "task": EMBEDDING}))
    words = ("-p", FAKE_PLUGIN, "get", "made:checkpoint", "--name", "one")
    assert "a model that writes text" in ovrecipe(*words, "--task", GENERATION).said


@pytest.mark.model
def test_get_lets_a_model_answer(
    smollm2_project: Project, ovrecipe: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an id to an answer in one command."""
    monkeypatch.chdir(smollm2_project.root)
    monkeypatch.setenv("OVRECIPE_STORE", str(smollm2_project.store_dir))
    model_id = load_recipe_file(smollm2_project.recipes_dir / "smollm2-135m.yaml").model.id
    built = ovrecipe("build", "smollm2-135m:int4").out
    done = ovrecipe("get", model_id, "--name", "smollm2-135m", "--ask", "What is 2 + 2?")
    assert done.code == 0, done.err
    assert done.out.startswith(built)
    assert done.out.removeprefix(built).strip(), "an answer"


def write_checkpoint(folder: Path, config: str) -> None:
    """Write a checkpoint that is whole, with a config.json of the test's own."""
    folder.mkdir()
    for name, content in {**checkpoint_files(), "config.json": config.encode()}.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "gemma2",
            r"Toolchain: tf-4.57 \(gemma2 needs transformers .*\nAttention: PA was right .*",
        ),
        (
            "mpt",
            r"Toolchain: main .*\nAttention: SDPA was right for a tiny mpt; the build compares",
        ),
        ("qwem3", "No build: .* knows: qwen3"),
    ],
)
def test_new_says_what_a_build_of_a_local_checkpoint_will_use(
    project: Path, ovrecipe: CommandLine, kind: str, said: str
) -> None:
    """Read from its config.json, before anything is built."""
    write_checkpoint(project / "checkpoint", json.dumps({"model_type": kind}))
    done = ovrecipe("new", "./checkpoint", "--name", "m", cwd=project)
    assert done.code == 0
    assert re.search(said, done.err), done.err
    assert "Gates: tokenizer, chat template, exported IR and every variant" in done.err


def test_new_asks_a_hub_for_the_config_alone(
    project: Path, ovrecipe: CommandLine, tmp_path: Path
) -> None:
    """Some kilobytes say which toolchain a model of gigabytes will need."""
    with loopback_hub() as hub:
        hub.repo("maker/gemma").push({"config.json": b'{"model_type": "gemma2"}'})
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "hf"),
        }
        done = ovrecipe.process("new", "maker/gemma", cwd=project, env=env)
        assert done.code == 0
        assert "Toolchain: tf-4.57 (gemma2 needs transformers" in done.said
        gone = ovrecipe.process("new", "maker/nothing", cwd=project, env=env)
        assert gone.code == 0
        assert "once the checkpoint is here" in gone.said


def test_new_says_that_a_model_elsewhere_is_not_known_yet(
    project: Path, ovrecipe: CommandLine
) -> None:
    """Without a hub the recipe is written all the same."""
    done = ovrecipe("new", "Some-Org/My_Model", cwd=project)
    assert "the build says which it uses, once the checkpoint is here" in done.err


def test_new_writes_no_recipe_for_a_config_that_cannot_be_read(
    project: Path, ovrecipe: CommandLine
) -> None:
    """The checkpoint is to be mended first."""
    write_checkpoint(project / "checkpoint", "{")
    done = ovrecipe("new", "./checkpoint", "--name", "m", cwd=project)
    assert (done.code, "config.json: is not JSON" in done.err) == (1, True)
    assert not (project / "recipes" / "m.yaml").exists()
