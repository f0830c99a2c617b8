"""Providers that break their contract at work are named, and leave no artifact."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ovrecipe.build.context import BuildContext
from ovrecipe.errors import PluginError, RecipeInvalid, StageError
from tests.build.fake_plugin import net
from tests.build.making import FAKE_PLUGIN, do_up_to, fake_recipe, work_on, write_recipe
from tests.sources.requests import checkpoint_files

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from ovrecipe.recipe.project import Project

#: Its compressor ends as `END` says, and its exporter and converter write nothing.
BREAKS = """
import sys
from pydantic import BaseModel
from ovrecipe import hookimpl

class Compressor:
    knobs = ("group_size",)
    def compress(self, job):
        (job.output_dir / "openvino_model.xml").write_text(XML)
        (job.output_dir / "openvino_model.bin").write_bytes(b"weights")
        END

class Idle:
    def export(self, job): ...
    def convert(self, job): ...

class Options(BaseModel, extra="forbid"):
    dtype: str = "f16"

class Told:
    options_model = Options
    def export(self, job):
        for name in ("openvino_model.xml", "openvino_model.bin"):
            (job.output_dir / name).write_text("")
        (job.output_dir / "config.json").write_text(job.options.dtype + job.recipe.name)

class Guesses(Told):
    def estimate(self, tensors): return 5

class Odd:
    def pin(self, request): return {"files": {"a"}}
    def fetch(self, request, pin, checkpoint_dir): ...

@hookimpl
def providers():
    return {
        "source": {"odd": Odd},
        "compressor": {"breaks": Compressor},
        "exporter": {"idle": Idle, "told": Told, "guesses": Guesses},
        "tokenizer_converter": {"idle": Idle},
    }
"""


def context_with(project: Project, end: str = "", **changes: Any) -> BuildContext:
    """Return a context whose compressor ends so."""
    plugin = project.root / "breaks.py"
    plugin.write_text(BREAKS.replace("END", end).replace("XML", repr(net("int4", 64))))
    write_recipe(project, "m", fake_recipe(**changes))
    return BuildContext(project, plugin_options=(FAKE_PLUGIN, str(plugin)))


VARIANTS = {"int4": {"compressor": "breaks"}}


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("sys.exit('enough')", "raised SystemExit: enough"),
        ("return {'bits'}", "returned set; it returns facts by name, or None"),
        ("return {'loss': float('nan')}", "returned facts that are no JSON: Out of range float"),
        ("import numpy; return {'n': numpy.int64(3)}", "no JSON: Object of type int64 is not JSON"),
        ("(job.output_dir / 'openvino_model.bin').unlink()", "wrote no openvino_model.bin"),
    ],
)
def test_a_compressor_that_breaks_its_contract_is_named(
    project: Project, end: str, reason: str
) -> None:
    """A stage's own words about it would send the user to the wrong people."""
    context = context_with(project, end, variants=VARIANTS)
    blamed = rf"weights m:int4: 'breaks' of plugin 'breaks' \(.*breaks\.py\) .*{re.escape(reason)}"
    with pytest.raises(PluginError, match=blamed):
        do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert not work_on(context, "m", "weights", "int4").is_done()


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (
            "objections(self, *_): return ['text']",
            "returned 'text' from objections(), no Objection",
        ),
        ("problems(self, *_): return [3]", "returned 3 from problems(), no str"),
        ("estimate(self, *_): return 5", "returned 5 from estimate(), no Estimate"),
    ],
)
def test_a_compressor_that_answers_with_another_kind_is_named(
    project: Project, method: str, reason: str
) -> None:
    """Judging the recipe and its needs reads the answers, and must not stumble over them."""
    context = context_with(project, f"\n    def {method}", variants=VARIANTS)
    blamed = rf"'breaks' of plugin 'breaks' \(.*breaks\.py\) {re.escape(reason)}"
    with pytest.raises(PluginError, match=blamed):
        do_up_to(context, "m", "source", "base", "weights", variant="int4")


def test_an_exporter_that_answers_with_another_kind_is_named(project: Project) -> None:
    """Its estimate is read before it starts."""
    checkpoint_dir = project.recipes_dir / "checkpoint"
    checkpoint_dir.mkdir()
    for name, data in checkpoint_files().items():
        (checkpoint_dir / name).write_bytes(data)
    context = context_with(project, model={"exporter": "guesses", "id": "./checkpoint"})
    with pytest.raises(PluginError, match=r"'guesses' of plugin .* returned 5 from estimate\(\)"):
        do_up_to(context, "m", "source", "base")


def test_a_process_that_ends_without_a_word_names_the_plugin_at_work(project: Project) -> None:
    """Nothing is in its log, and nobody else would know whom to ask."""
    context = context_with(project, "import os; os._exit(5)", variants=VARIANTS)
    ended = (
        r"weights m:int4: its process ended with exit code 5 while 'breaks' of plugin 'breaks' "
        r"\(.*breaks\.py\) worked \(.*\); its log is empty$"
    )
    with pytest.raises(StageError) as caught:
        do_up_to(context, "m", "source", "base", "weights", variant="int4")
    assert re.fullmatch(ended, caught.value.message)
    assert caught.value.remedy == "tell the plugin's maintainers, or use another"


def test_a_pin_that_is_no_json_is_blamed_on_the_source(project: Project) -> None:
    """It is part of every key."""
    context = context_with(project, model={"id": "odd:x"})
    with pytest.raises(PluginError, match=r"'odd' of plugin 'breaks' .* that are no JSON"):
        do_up_to(context, "m", "source")


def test_a_compressor_need_not_return_facts(project: Project) -> None:
    """Most have nothing to tell."""
    context = context_with(project, "return None", variants=VARIANTS)
    do_up_to(context, "m", "source", "base", "weights", variant="int4")
    key = work_on(context, "m", "weights", "int4").key()
    assert key is not None
    assert context.store.manifest(key).facts["passes"] == [{}]


def test_an_exporter_that_writes_nothing_is_named(project: Project) -> None:
    """The next stage would stumble over it, and be named instead."""
    context = context_with(project, model={"exporter": "idle"})
    missing = "wrote no openvino_model.xml and no openvino_model.bin and no config.json"
    with pytest.raises(PluginError, match=rf"'idle' of plugin 'breaks' .* {missing}"):
        do_up_to(context, "m", "source", "base")


def test_a_converter_that_writes_nothing_is_named(project: Project) -> None:
    context = context_with(project, tokenizer={"converter": "idle"})
    with pytest.raises(PluginError, match=r"'idle' of plugin .* wrote no openvino_tokenizer\.xml"):
        do_up_to(context, "m", "source", "tokenizer")


def test_an_exporter_takes_options_as_a_filter_does(project: Project) -> None:
    """The same form everywhere; its job has them validated, and the recipe."""
    context = context_with(project, model={"exporter": {"told": {"dtype": "f32"}}})
    do_up_to(context, "m", "source", "base")
    key = work_on(context, "m", "base").key()
    assert key is not None
    assert (context.store.artifact_dir(key) / "config.json").read_text() == "f32m"


def test_options_of_an_exporter_change_the_key_unless_they_are_its_defaults(
    project: Project,
) -> None:
    """What says nothing new rebuilds nothing."""
    keys = {}
    for dtype in (None, "f16", "f32"):
        options = {} if dtype is None else {"dtype": dtype}
        context = context_with(project, model={"exporter": {"told": options}})
        keys[dtype] = work_on(context, "m", "base").key()
    assert keys[None] == keys["f16"] != keys["f32"]


def test_a_wrong_option_of_an_exporter_is_refused_at_its_place(project: Project) -> None:
    context = context_with(project, model={"exporter": {"told": {"dtpe": "f32"}}})
    expected = r"m\.yaml:5:7: model\.exporter\.told\.dtpe: unknown key; perhaps you meant 'dtype'"
    with pytest.raises(RecipeInvalid, match=expected):
        context.plan("m").judge()


def test_a_knob_that_a_compressor_does_not_use_is_refused(project: Project) -> None:
    """It would change the key and nothing else."""
    variants = {"int4": {"compressor": "breaks", "group_size": 32, "awq": True, "ratio": 0.5}}
    context = context_with(project, variants=variants)
    with pytest.raises(RecipeInvalid) as caught:
        context.plan("m").judge()
    lines = caught.value.message.splitlines()
    assert [line.split(": ", maxsplit=1)[1] for line in lines] == [
        "variants.int4.awq: 'compressor: breaks' does not use it; remove it",
        "variants.int4.ratio: 'compressor: breaks' does not use it; remove it",
    ]
    assert re.match(r".*recipes/m\.yaml:\d+:5: ", lines[0])


def test_a_traceback_of_the_stage_is_shown_to_those_who_ask(project: Project) -> None:
    """The author's line, from the process in which it ran."""
    context_with(project, "raise KeyError('deep')", variants=VARIANTS)
    plugins = ["-p", FAKE_PLUGIN, "-p", str(project.root / "breaks.py")]
    done = subprocess.run(
        [sys.executable, "-m", "ovrecipe", "--traceback", *plugins, "build", "m:int4"],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.root,
        env=dict(os.environ),
    )
    assert done.returncode == 4
    assert "in compress\n    raise KeyError('deep')" in done.stderr
    assert "ovrecipe: weights m:int4: 'breaks' of plugin 'breaks'" in done.stderr
