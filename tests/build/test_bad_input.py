"""Bad input on the command line: its own exit code, what to do, and never a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ovrecipe.build.context import BuildContext
from ovrecipe.build.preflight import check_work
from ovrecipe.build.run import Target, try_to_build
from ovrecipe.errors import DiskFull, PreflightError
from ovrecipe.recipe.project import Project
from tests.build.making import (
    FAKE_PLUGIN,
    SAID,
    context_of,
    do_up_to,
    fake_recipe,
    publish_fakes,
    work_on,
    write_recipe,
)
from tests.conftest import CommandLine
from tests.sources.requests import checkpoint_files

pytestmark = pytest.mark.slow

RECIPE, PLUGIN, SOURCE, PREFLIGHT, STAGE, STORE, NOT_BUILT, RUN = 3, 4, 5, 6, 7, 9, 10, 11
GOOD: dict[str, Any] = {"model": {"id": "./checkpoint"}, "variants": {"int8": {}}}


def recipe_text(**changes: Any) -> str:
    """Return the text of a recipe with sections replaced."""
    return yaml.safe_dump({**GOOD, **changes}, sort_keys=False)


def alias_bomb() -> str:
    """Return a few lines that are ten million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
    return "\n".join(lines) + "\n"


def int4(**knobs: Any) -> dict[str, Any]:
    """Return a recipe's variants with one int4."""
    return {"variants": {"int4": knobs}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (recipe_text(**int4(grup_size=64)), r"perhaps you meant 'group_size'"),
        (recipe_text(**int4(group_size="64")), r"variants.int4.group_size"),
        (recipe_text() + "variants: {fp16: {}}\n", "stands twice"),
        ("- a\n- b\n", r"m.yaml"),
        (alias_bomb(), "alias"),
        (recipe_text(prompt={"template": "no place"}), r"{instruction}"),
        (recipe_text(**int4(ratio=0)), r"variants.int4.ratio"),
        (recipe_text(**int4(ratio=2)), r"variants.int4.ratio"),
        (recipe_text(variants={"int8": {"group_size": 64}}), r"int8 takes no group_size"),
    ],
    ids=[
        "unknown key", "wrong type", "duplicate key", "no mapping", "alias bomb",
        "no {instruction}", "ratio 0", "ratio 2", "int8 with group_size",
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_named_with_its_place(
    ovrecipe: CommandLine, project: Project, text: str, expected: str
) -> None:
    """File, line and column come first, so that an editor can jump there."""
    (project.recipes_dir / "m.yaml").write_text(text)
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == RECIPE
    assert "recipes/m.yaml:" in done.said
    assert expected in done.said


@pytest.mark.parametrize("name", ["../m", "a/b", "..", "m\\n"])
def test_a_name_that_is_a_path_is_refused(
    ovrecipe: CommandLine, project: Project, name: str
) -> None:
    """A recipe's name becomes a folder of the store's views."""
    assert ovrecipe("build", name, cwd=project.root).code == RECIPE


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model": {"exporter": "optimun"}}, "perhaps you meant 'optimum'"),
        ({"variants": {"int4": {"compressor": "ncf"}}}, "perhaps you meant 'nncf'"),
    ],
)
def test_an_unknown_provider_is_named_with_the_closest(
    ovrecipe: CommandLine, project: Project, changes: dict[str, Any], word: str
) -> None:
    """A misspelt name is found before anything is built."""
    write_recipe(project, "m", fake_recipe(**changes))
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=project.root)
    assert done.code == PLUGIN
    assert word in done.said


@pytest.fixture
def narrow(project: Project) -> Project:
    """A project whose checkpoint has 32 channels, beside a variant in groups of 7 one that fits."""
    header = json.dumps(
        {"layer.q_proj.weight": {"dtype": "F32", "shape": [8, 32], "data_offsets": [0, 1024]}}
    ).encode()
    files = checkpoint_files(
        model__safetensors=len(header).to_bytes(8, "little") + header + bytes(1024)
    )
    checkpoint(project, files)
    variants = {"int4": {"group_size": 7}, "int4-fits": {"compressor": "fake"}}
    model = {**GOOD["model"], "exporter": "fine"}
    write_recipe(project, "m", {**GOOD, "model": model, "variants": variants})
    return project


def test_a_group_size_that_fits_no_channel_is_refused_before_the_export(
    ovrecipe: CommandLine, narrow: Project
) -> None:
    """The shapes are in the checkpoint's header; nothing is exported to find out."""
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m", cwd=narrow.root)
    assert done.code == PREFLIGHT
    assert "group_size" in done.said
    assert not (narrow.store_dir / "base").exists()


def test_all_that_was_asked_for_is_judged_by_whichever_stage_comes_first(
    ovrecipe: CommandLine, narrow: Project
) -> None:
    """Where the base is there, that is another variant's; what several find out is said once."""
    context = context_of(narrow)
    do_up_to(context, "m", "source")
    with pytest.raises(PreflightError, match=r"variants\.int4: group_size 7 does not"):
        check_work(work_on(context, "m", "weights", "int4-fits"))
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4-fits", "m:int4", cwd=narrow.root)
    assert done.code == PREFLIGHT
    assert done.said.count("group_size 7 does not") == 1
    assert "--keep-going builds what does not depend on it" in done.said


def test_with_keep_going_a_variant_that_is_refused_alone_costs_no_export(
    ovrecipe: CommandLine, narrow: Project
) -> None:
    """It is refused at once, as without."""
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "--keep-going", "m:int4", cwd=narrow.root)
    assert done.code == PREFLIGHT
    assert not (narrow.store_dir / "base").exists()


def test_with_keep_going_memory_is_judged_variant_by_variant(narrow: Project) -> None:
    """One that does not fit is refused by its own first stage, and keeps no other from its base."""
    variants = {"int4": {"compressor": "hungry"}, "int4-fits": {"compressor": "fake"}}
    write_recipe(narrow, "m", {**GOOD, "variants": variants})
    context = context_of(narrow)
    do_up_to(context, "m", "source")
    base = work_on(context, "m", "base")
    with pytest.raises(PreflightError, match=r"weights m:int4 needs about 10000000\.00 GB"):
        check_work(base)
    context.keep_going = True
    assert check_work(base) > 0
    with pytest.raises(PreflightError, match="weights m:int4 needs about"):
        check_work(work_on(context, "m", "weights", "int4"))


@pytest.mark.model
def test_with_keep_going_what_is_refused_keeps_no_other_variant_from_being_built(
    twin_project: Project,
) -> None:
    """One error is said, and nothing of the stages that were not tried for it."""
    write_recipe(twin_project, "m", {**GOOD, "variants": {"int8": {}, "int4": {"group_size": 7}}})
    targets = [Target("m", variant) for variant in ("int8", "int4")]
    report = try_to_build(BuildContext(twin_project, keep_going=True), targets, watch=SAID)
    [error] = report.errors
    assert isinstance(error, PreflightError)
    assert "variants.int4: group_size 7" in str(error)
    assert [path.name for path in (twin_project.models_dir / "m").iterdir()] == ["int8"]
    # The other is built: nobody waits for a base that is gone.
    for path in (twin_project.store_dir / "base").iterdir():
        path.chmod(0o755)
        shutil.rmtree(path)
    again = try_to_build(BuildContext(twin_project, keep_going=True), targets, watch=SAID)
    assert [type(error) for error in again.errors] == [PreflightError]
    assert again.ran == []


@pytest.mark.parametrize(
    "words",
    [("build", "m:int4"), ("why", "m:int4")],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("name", ["texts.txt", "folder.txt"])
def test_a_data_set_that_cannot_be_read_is_named(
    ovrecipe: CommandLine, project: Project, words: tuple[str, ...], name: str
) -> None:
    """The file is looked for by every command that asks for keys, and before any work."""
    (project.recipes_dir / "folder.txt").mkdir()
    variant = {"compressor": "fake", "dataset": name}
    write_recipe(project, "m", fake_recipe(variants={"int4": variant}))
    done = ovrecipe("-p", FAKE_PLUGIN, *words, cwd=project.root)
    assert done.code == RECIPE
    assert "variants.int4.dataset: " in done.said
    assert name in done.said
    assert not (project.store_dir / "source").exists()


@pytest.mark.parametrize("content", [b" \n\n", b"\xff\xfe\x00"])
@pytest.mark.parametrize("command", ["build", "validate"])
def test_a_data_set_without_text_is_found_before_the_export(
    ovrecipe: CommandLine, project: Project, command: str, content: bytes
) -> None:
    """An hour of export later would be late."""
    (project.recipes_dir / "texts.txt").write_bytes(content)
    variant = {"compressor": "fake", "dataset": "texts.txt"}
    write_recipe(project, "m", fake_recipe(variants={"int4": variant}))
    done = ovrecipe("-p", FAKE_PLUGIN, command, "m", cwd=project.root)
    assert done.code == RECIPE
    assert "variants.int4.dataset: texts.txt: " in done.out + done.said
    assert not (project.store_dir / "source").exists()


def test_a_missing_data_set_blocks_no_clean_up(ovrecipe: CommandLine, project: Project) -> None:
    """What the recipe's views lead to is kept, whatever else its plan would say."""
    variant = {"compressor": "fake", "dataset": "texts.txt"}
    write_recipe(project, "m", fake_recipe(variants={"int4": variant}))
    done = ovrecipe("-p", FAKE_PLUGIN, "gc", "--dry-run", cwd=project.root)
    assert done.code == 0
    assert "variants.int4.dataset" in done.said


def test_an_option_that_a_compressor_does_not_know_is_named_before_the_fetch(
    ovrecipe: CommandLine,
    project: Project,
) -> None:
    """A misspelt budget would be no budget; hours later it is too late to hear of it."""
    variant = {"compressor": "picky", "options": {"max_size_bm": 90}}
    write_recipe(project, "m", fake_recipe(variants={"int4": variant}))
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=project.root)
    assert done.code == RECIPE
    assert "variants.int4.options.max_size_bm" in done.said
    assert "perhaps you meant 'max_size_mb'" in done.said
    assert not (project.store_dir / "source").exists()


def checkpoint(project: Project, files: dict[str, bytes]) -> None:
    """Write a checkpoint beside the recipes."""
    folder = project.recipes_dir / "checkpoint"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_checkpoint_that_is_not_there_is_named(ovrecipe: CommandLine, project: Project) -> None:
    """The path is shown as it was looked for."""
    write_recipe(project, "m", GOOD)
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == SOURCE
    assert "checkpoint" in done.said


@pytest.mark.parametrize("missing", ["tokenizer.json", "config.json", "model.safetensors"])
def test_a_checkpoint_without_a_part_is_refused(
    ovrecipe: CommandLine, project: Project, missing: str
) -> None:
    """An hour later the export would fail, or write a wrong tokenizer."""
    files = {name: content for name, content in checkpoint_files().items() if name != missing}
    checkpoint(project, files)
    write_recipe(project, "m", GOOD)
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == SOURCE
    assert missing.split(".", maxsplit=1)[0] in done.said


def test_a_pickle_only_checkpoint_is_refused(ovrecipe: CommandLine, project: Project) -> None:
    """Loading a pickle runs whatever it holds."""
    files = checkpoint_files()
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    checkpoint(project, files)
    write_recipe(project, "m", GOOD)
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == SOURCE
    assert "allow_pickle" in done.said


def test_remote_code_is_refused_unless_the_recipe_allows_it(
    ovrecipe: CommandLine, project: Project
) -> None:
    """Code of a checkpoint runs only when somebody said so in writing."""
    files = checkpoint_files()
    config = json.loads(files["config.json"])
    config["model_type"] = "own"
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.OwnModel"}
    files["config.json"] = json.dumps(config).encode()
    checkpoint(project, files)
    write_recipe(project, "m", GOOD)
    done = ovrecipe("build", "m", cwd=project.root)
    assert done.code == SOURCE
    assert "trust_remote_code" in done.said


def test_a_store_that_cannot_be_written_is_named(ovrecipe: CommandLine, project: Project) -> None:
    """A file where the store should be stops root as well."""
    write_recipe(project, "m", fake_recipe())
    project.store_dir.write_text("a file")
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=project.root)
    assert done.code == STORE
    assert "store" in done.said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where the machine lets us mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_publishes_nothing(
    ovrecipe: CommandLine, project: Project, small_disk: Path
) -> None:
    """Half an artifact is worse than none."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "large"}))
    done = ovrecipe(
        "-p", FAKE_PLUGIN, "build", "m:int4",
        cwd=project.root, env={"OVRECIPE_STORE": str(small_disk / "store")},
    )  # fmt: skip
    assert done.code == STORE
    assert "the disk is full" in done.said
    assert not list((small_disk / "store").glob("base/*"))


def test_a_full_disk_is_told_when_openvinos_writer_meets_it(
    project: Project, small_disk: Path
) -> None:
    """It says no more than "iostream error", in which nobody reads that."""
    write_recipe(project, "m", fake_recipe(model={"exporter": "openvino"}))
    small = replace(project, store_dir=small_disk / "store")
    with pytest.raises(DiskFull, match=r"base m: .*iostream error\nbase m: the disk is full"):
        do_up_to(context_of(small), "m", "source", "base")


def test_a_variant_that_is_not_built_says_how_to_build_it(
    ovrecipe: CommandLine, project: Project
) -> None:
    """The command to type is in the message."""
    write_recipe(project, "m", fake_recipe())
    done = ovrecipe("run", "m:int4", "hello", cwd=project.root)
    assert done.code == NOT_BUILT
    assert "ovrecipe build m:int4" in done.said


def test_a_variant_that_no_recipe_has_is_named_before_any_work(
    ovrecipe: CommandLine, project: Project
) -> None:
    """All words of the command are judged first."""
    write_recipe(project, "m", fake_recipe())
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", "m:int5", cwd=project.root)
    assert done.code == RECIPE
    assert "int4" in done.said
    assert not (project.store_dir / "source").exists()


@pytest.mark.model
@pytest.mark.parametrize(
    ("words", "stdin", "expected"),
    [
        (["", "--greedy"], b"", "empty"),
        (["word " * 9000, "--greedy"], b"", "8192"),
        (["hello", "--device", "NPUU"], b"", "NPUU"),
        (["hello", "--frontend", "consol"], b"", "console"),
        (["hello", "-g", "temprature=1.0"], b"", "temperature"),
        ([], b"\xff\xfe", "UTF-8"),
    ],
    ids=["empty", "too long", "device", "frontend", "parameter", "stdin"],
)
def test_a_wrong_question_is_told_before_the_answer(
    ovrecipe: CommandLine,
    smollm2_project: Project,
    words: list[str],
    stdin: bytes,
    expected: str,
) -> None:
    """What cannot be honoured is refused by name."""
    done = ovrecipe("run", "smollm2-135m:int4", *words, cwd=smollm2_project.root, stdin=stdin)
    assert done.code in {PLUGIN, RUN}
    assert done.out == ""
    assert expected in done.said


@pytest.mark.parametrize("words", [("build", "m:int4"), ("run", "m:int4", "hello")])
def test_an_unknown_filter_of_a_recipe_is_named(
    ovrecipe: CommandLine, project: Project, words: tuple[str, ...]
) -> None:
    """Hours of building would end in a model that does not answer; none is left out either."""
    write_recipe(project, "m", fake_recipe(output={"filters": ["strip_marker"]}))
    publish_fakes(project, "m", "int4")
    done = ovrecipe("-p", FAKE_PLUGIN, *words, cwd=project.root)
    assert done.code == PLUGIN
    assert "perhaps you meant 'strip_markers'" in done.said
    assert not (project.store_dir / "source").exists()


def test_environment_names_the_project(
    ovrecipe: CommandLine, project: Project, tmp_path: Path
) -> None:
    """Every command works from elsewhere with --project."""
    write_recipe(project, "m", fake_recipe())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = ovrecipe("--project", str(project.root), "list", "--json", cwd=elsewhere)
    assert done.code == 0
    assert [row["name"] for row in json.loads(done.out)["recipes"]] == ["m"]
