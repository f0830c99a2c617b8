"""An export goes to the hub in one commit, by the hub's own client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovrecipe.recipe.project import Project
from tests.build.making import FAKE_PLUGIN
from tests.conftest import CommandLine, Outcome
from tests.loopback_hub import TOKEN, LoopbackHub, loopback_hub

pytestmark = pytest.mark.slow
NAME = "maker/m-int4-ov"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with loopback_hub() as running:
        yield running


@pytest.fixture
def export(
    ovrecipe: CommandLine, built: Project, hub: LoopbackHub, tmp_path: Path
) -> Callable[..., Outcome]:
    """Export in a process of its own: huggingface_hub reads its environment once."""

    def run(*words: str, token: str = TOKEN) -> Outcome:
        env = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": token,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            # Files go by the LFS protocol then, which the hub of the tests speaks.
            "HF_HUB_DISABLE_XET": "1",
        }
        call = ("-p", FAKE_PLUGIN, "export", "m:int4", *words)
        return ovrecipe.process(*call, cwd=built.root, env=env)

    return run


def head(hub: LoopbackHub) -> dict[str, bytes]:
    """Return the files of the repository's newest commit."""
    repo = hub.repos[NAME]
    return repo.commits[repo.refs["main"]]


def test_it_is_one_commit_that_is_not_sent_twice(hub, export) -> None:
    """Whoever downloads at that moment sees no half; for its owner alone unless told."""
    done = export("--to", f"hub:{NAME}", "--json")
    assert done.code == 0, done.err
    files = head(hub)
    model = {"chat_template.jinja", "openvino_model.bin"}
    assert files.keys() == {".gitattributes", "README.md", "ovrecipe.json", *model}
    assert files["openvino_model.bin"] == b"assemble"
    assert json.loads(files["ovrecipe.json"])["name"] == "m"
    assert len(hub.repos[NAME].commits) == 2
    assert json.loads(done.out)["commit"].startswith(hub.endpoint)
    assert {NAME} == hub.private
    assert export("--to", f"hub:{NAME}").code == 0
    assert [request.method for request in hub.seen].count("PUT") == 1


def test_what_the_hub_refuses_is_said(hub, export) -> None:
    """With the exit code of a hub that does not give."""
    done = export("--to", f"hub:{NAME}", token="hf_wrong")
    assert done.code == 5
    assert "set HF_TOKEN" in done.err
    assert hub.repos == {}


def test_a_repository_with_something_else_is_left_alone(hub, export) -> None:
    """As a folder is."""
    hub.repo(NAME).push({"model.safetensors": b"theirs"})
    done = export("--to", f"hub:{NAME}")
    assert done.code == 12
    assert "no export of ovrecipe's" in done.err
    assert len(hub.repos[NAME].commits) == 1


def test_what_only_the_export_before_had_is_deleted(hub, export) -> None:
    """Another tokenizer's files would be read beside the new ones; what people wrote stays."""
    assert export("--to", f"hub:{NAME}", "--ovms").code == 0
    hub.repo(NAME).push({**head(hub), "notes.md": b"theirs"})
    done = export("--to", f"hub:{NAME}")
    assert done.code == 0, done.err
    own = {"README.md", "ovrecipe.json", "chat_template.jinja", "openvino_model.bin"}
    assert head(hub).keys() == {".gitattributes", "notes.md", *own}
    assert head(hub)["notes.md"] == b"theirs"


def test_an_export_there_that_cannot_be_read_is_left_alone(hub, export) -> None:
    """Nobody knows then which files it wrote."""
    hub.repo(NAME).push({"ovrecipe.json": b'{"schema": 2}', "openvino_model.bin": b"theirs"})
    done = export("--to", f"hub:{NAME}")
    assert done.code == 12
    assert f"{NAME}: its ovrecipe.json cannot be understood: a newer ovrecipe wrote it" in done.err
    assert len(hub.repos[NAME].commits) == 1


@pytest.mark.parametrize("wrong", ["maker/m", "hub:m", "hub:maker/m.git", "s3://maker/m"])
def test_what_names_no_repository_is_refused(ovrecipe, built, wrong) -> None:
    """Before anything is read or sent."""
    done = ovrecipe("-p", FAKE_PLUGIN, "export", "m:int4", "--to", wrong, cwd=built.root)
    assert done.code == 12
    assert "write hub:ORG/NAME" in done.err
