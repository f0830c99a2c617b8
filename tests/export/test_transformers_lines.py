"""Which transformers an architecture needs, as optimum-intel's own source says."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from ovrecipe.builtin.transformers_lines import TOOLCHAINS, bounds_of, choice_for, dtype_option
from tests.conftest import REPOSITORY

#: Prints the bounds of every type, from the classes themselves, and what was imported before.
ASK = """
import json, sys
from ovrecipe.builtin.transformers_lines import bounds_of
bounds_of("llama")
heavy = sorted({"torch", "transformers"} & {*sys.modules})
from optimum.exporters.openvino import model_configs
from optimum.exporters.tasks import TasksManager
found = {}
for kind, libraries in TasksManager._SUPPORTED_MODEL_TYPE.items():
    config = libraries.get("openvino", {}).get("text-generation-with-past")
    if config is not None:
        of = getattr(config, "func", config)
        names = ("MIN_TRANSFORMERS_VERSION", "MAX_TRANSFORMERS_VERSION")
        found[kind] = [getattr(of, name, None) for name in names]
print(json.dumps([heavy, found]))
"""


@pytest.mark.parametrize(
    ("model_type", "installed", "name", "reason"),
    [
        ("llama", "5.5.4", "main", "llama works with transformers 5.5.4"),
        ("gemma3_text", "5.5.4", "tf-4.57", "gemma3_text needs transformers at most 5.0"),
        ("gemma3_text", "5.0.0", "main", "gemma3_text works with transformers 5.0.0"),
        ("llama4_text", "5.5.4", "tf-4.57", "llama4_text needs transformers at most 4.57.6"),
        ("gemma3n_text", "5.5.4", "tf-5.0", "gemma3n_text needs transformers at most 5.0"),
        ("qwen3_5_text", "5.5.4", "tf-5.2", "qwen3_5_text needs transformers at most 5.2.*"),
        ("lfm2_moe", "5.5.4", "tf-5.4", "lfm2_moe needs transformers at most 5.4.0"),
        ("deepseek_v3", "5.5.4", "tf-4.53", "deepseek_v3 needs transformers at most 4.53.3"),
        ("chatglm", "5.5.4", "tf-4.55", "chatglm needs transformers at most 4.55.4"),
        ("muse_glimmer_text", "5.5.4", "tf-5.15", "muse_glimmer_text needs transformers at least"),
        ("llama", "4.40.0", "tf-4.57", "llama needs transformers at least 4.57"),
        ("martian", "5.5.4", "main", "martian works with"),
        ("gemma3_text", None, "main", "gemma3_text works with"),
        ("gemma4_text", "5.5.4", "main", "gemma4_text works with transformers 5.5.4"),
    ],
)
def test_the_main_environment_is_taken_where_it_fits_and_else_the_first_that_does(
    model_type: str, installed: str | None, name: str | None, reason: str
) -> None:
    """With the bound that is in the way, which the user sees."""
    choice = choice_for(model_type, installed)
    assert choice.name == name
    assert choice.reason.startswith(reason)


def test_where_no_toolchain_fits_the_bounds_are_told() -> None:
    """A newer optimum-intel may want what no toolchain has yet."""
    choice = choice_for("gemma3_text", "5.5.4", toolchains=[])
    assert choice.name is None
    assert "optimum-intel wants at least 4.57 and at most 5.0" in choice.reason


@pytest.mark.parametrize(
    ("version", "name"), [("4.53.3", "torch_dtype"), ("4.57.6", "dtype"), ("5.5.4", "dtype")]
)
def test_a_dtype_is_given_under_the_name_that_transformers_knows(version: str, name: str) -> None:
    """In the toolchains tf-4.53 and tf-4.55 no model was loaded: `dtype` went to its class."""
    assert dtype_option(version) == name


@pytest.mark.slow
@pytest.mark.model
def test_the_bounds_are_those_of_the_classes_and_no_torch_was_loaded_for_them() -> None:
    """For every architecture that is registered, decorators and base classes followed."""
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    heavy, found = json.loads(done.stdout.splitlines()[-1])
    assert heavy == []
    assert len(found) > 80
    read = {kind: bounds_of(kind) for kind in found}
    # With both of its bounds it would be exported with no transformers; the newest is Gemma's.
    assert (found.pop("gemma4_text"), read.pop("gemma4_text")) == (["5.5", "5.0"], ("5.5", None))
    assert {kind: said and [*said] for kind, said in read.items()} == found


def test_the_manual_lists_the_toolchains_in_their_order() -> None:
    """With every version in them."""
    page = (REPOSITORY / "docs" / "toolchains.md").read_text("utf-8")
    listed = re.findall(r"^\| `(tf-\S+)` \| (.*) \|$", page, flags=re.MULTILINE)
    assert listed == [
        (one.name, ", ".join(f"{name} {version}" for name, version in one.packages.items()))
        for one in TOOLCHAINS
    ]
