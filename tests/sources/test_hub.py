"""The hub source against a hub that speaks the real client's protocol."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin.hub import translated
from ovrecipe.errors import DiskFull, HubUnreachable
from tests.loopback_hub import TOKEN, LoopbackHub, loopback_hub
from tests.sources.requests import checkpoint_files, safetensors_bytes

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
NAME = "maker/tiny"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with loopback_hub() as running:
        yield running


@pytest.fixture
def run(hub: LoopbackHub, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the source in its own process, with its own cache and the loopback hub."""

    def run_source(*, into: str = "checkpoint", env: dict[str, str] | None = None, **job: Any):
        checkpoint_dir = tmp_path / into
        checkpoint_dir.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        settings = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **(env or {}),
        }
        argument = json.dumps({"id": NAME, "checkpoint_dir": str(checkpoint_dir), **job})
        done = subprocess.run(
            [sys.executable, "-m", "tests.sources.hub_process", argument],
            env={**kept, **settings},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run_source


def test_pins_a_branch_to_its_commit_and_links_the_cache(hub, run, tmp_path) -> None:
    """A recipe without a revision is built from one commit, and nothing is stored twice."""
    commit = hub.repo(NAME).push(checkpoint_files())
    outcome = run()
    assert outcome["pin"] == {"repo_id": NAME, "revision": "main", "commit": commit}
    weights = tmp_path / "checkpoint" / "model.safetensors"
    assert weights.is_symlink()
    assert weights.read_bytes() == safetensors_bytes()
    assert weights.resolve().is_relative_to(tmp_path / "hf" / "hub")
    assert not (tmp_path / "checkpoint" / "README.md").exists()


def test_a_moved_branch_does_not_change_what_was_pinned(hub, run, tmp_path) -> None:
    """A build of yesterday's pin gives yesterday's files, whatever was pushed since."""
    first = hub.repo(NAME).push(checkpoint_files(generation_config__json=b'{"first": 1}'))
    pin = run(fetch=False)["pin"]
    second = hub.repo(NAME).push(checkpoint_files(generation_config__json=b'{"second": 2}'))
    run(into="pinned", pin=pin)
    assert (tmp_path / "pinned" / "generation_config.json").read_text() == '{"first": 1}'
    assert pin["commit"] == first
    assert run(into="updated", fetch=False)["pin"]["commit"] == second


def test_a_full_commit_is_pinned_without_asking(hub, run) -> None:
    """A recipe that names a commit has nothing to resolve."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert run(fetch=False, model={"revision": commit})["pin"]["commit"] == commit
    assert hub.seen == []


def test_resumes_where_a_cut_connection_stopped(hub, run, tmp_path) -> None:
    """Gigabytes that arrived are not asked for again (the client counts in chunks of 10 MiB)."""
    body = safetensors_bytes(values=3_000_000)
    hub.repo(NAME).push(checkpoint_files(model__safetensors=body))
    hub.cut_once("model.safetensors", after_bytes=11_000_000)
    outcome = run()
    assert "error" not in outcome
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == body
    ranges = [request.range for request in hub.downloads("model.safetensors")]
    assert ranges == [None, "bytes=10485760-"]


def test_reports_bytes_of_a_download(hub, run) -> None:
    """The build shows how far a download is."""
    body = safetensors_bytes(values=100_000)
    hub.repo(NAME).push(checkpoint_files(model__safetensors=body))
    shown = run()["progress"]
    assert any(
        (text, unit) == ("downloading", "B") and total and total >= len(body)
        for text, _, total, unit in shown
    )


def test_takes_one_form_of_the_weights(hub, run, tmp_path) -> None:
    """A repository often has the weights three times; only safetensors are downloaded."""
    others = ("pytorch_model__bin", "consolidated__safetensors", "model__gguf", "flax__msgpack")
    hub.repo(NAME).push(checkpoint_files(**dict.fromkeys(others, safetensors_bytes())))
    run()
    asked = {request.path.rpartition("/")[2] for request in hub.seen}
    assert "model.safetensors" in asked
    assert not asked & {name.replace("__", ".") for name in others}


def test_a_missing_model_is_not_found(run) -> None:
    """The likeliest cause is a typing error, so the id stands in the message."""
    outcome = run()
    assert outcome["error"] == "CheckpointNotFound"
    assert "maker/tiny: the hub has no such model" in outcome["message"]


def test_the_hubs_401_for_a_missing_model_is_not_found_too(hub, run) -> None:
    """The real hub answers 401 to anonymous questions about models that do not exist."""
    hub.missing_repo_status = 401
    assert run()["error"] == "CheckpointNotFound"


def test_a_missing_revision_is_named(hub, run) -> None:
    """The model exists; saying it does not would send the user the wrong way."""
    hub.repo(NAME).push(checkpoint_files())
    outcome = run(model={"revision": "v9"})
    assert outcome["error"] == "CheckpointNotFound"
    assert "has no revision 'v9'" in outcome["message"]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["no token", "licence not accepted"])
def test_a_gated_model_says_how_to_get_access(hub, run, token) -> None:
    """A gated model needs two steps of the user, and both are named."""
    hub.repo(NAME).push(checkpoint_files())
    hub.repo(NAME).gated = True
    outcome = run(env={"HF_TOKEN": token} if token else {})
    assert outcome["error"] == "HubAccessDenied"
    assert "accept the licence" in outcome["message"]
    assert "hf auth login" in outcome["message"]
    assert "HF_TOKEN" in outcome["message"]


def test_a_gated_model_is_read_with_an_accepted_licence(hub, run, tmp_path) -> None:
    """The token comes from the usual place."""
    hub.repo(NAME).push(checkpoint_files())
    hub.repo(NAME).gated = hub.repo(NAME).licence_accepted = True
    assert "error" not in run(env={"HF_TOKEN": TOKEN})
    assert (tmp_path / "checkpoint" / "model.safetensors").is_file()


def test_offline_works_from_the_cache(hub, run, tmp_path) -> None:
    """What was downloaded once is usable on the train."""
    hub.repo(NAME).push(checkpoint_files())
    pin = run()["pin"]
    asked = len(hub.seen)
    outcome = run(into="offline", pin=pin, env={"HF_HUB_OFFLINE": "1"})
    assert "error" not in outcome
    assert (tmp_path / "offline" / "model.safetensors").read_bytes() == safetensors_bytes()
    assert len(hub.seen) == asked


def test_offline_without_a_cache_says_so(run) -> None:
    """Not the hub's fault and not the recipe's: the switch is named."""
    outcome = run(env={"HF_HUB_OFFLINE": "1"})
    assert outcome["error"] == "HubUnreachable"
    assert "HF_HUB_OFFLINE is set" in outcome["message"]


def test_an_unreachable_hub_is_reported(run) -> None:
    """No network is the commonest failure, so it must be plain."""
    outcome = run(env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert outcome["error"] == "HubUnreachable"
    assert "did not answer" in outcome["message"]


def test_an_unreachable_hub_does_not_matter_for_a_cached_commit(hub, run, tmp_path) -> None:
    """A commit never changes, so the cache is as good as the hub."""
    hub.repo(NAME).push(checkpoint_files())
    pin = run()["pin"]
    assert "error" not in run(into="again", pin=pin, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert (tmp_path / "again" / "tokenizer.json").is_file()


def test_pickles_are_refused_before_they_are_downloaded(hub, run) -> None:
    """Neither bandwidth nor trust is spent on weights that will not be read."""
    hub.repo(NAME).push(checkpoint_files(model__safetensors=None, pytorch_model__bin=b"pickle"))
    outcome = run()
    assert outcome["error"] == "CheckpointUnsafe"
    assert "model.allow_pickle: true" in outcome["message"]
    assert hub.downloads("pytorch_model.bin") == []


def test_no_usage_is_counted(hub, run) -> None:
    """The user agent is where the real client counts; it names no session when switched off."""
    hub.repo(NAME).push(checkpoint_files())
    run()
    assert not [request for request in hub.seen if "telemetry" in request.path]
    assert not [request for request in hub.seen if "session_id" in request.user_agent]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_cache_that_takes_no_more_is_a_full_disk(code: int) -> None:
    """It may lie on another disk than the store, so the variable that moves it is named."""
    told = r"org/m: huggingface_hub's cache \(HF_HUB_CACHE moves it\): the disk is full"
    with pytest.raises(DiskFull, match=told), translated("org/m", "main"):
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("lost", [ConnectionError, TimeoutError])
def test_a_connection_that_another_library_lost_is_the_hub_that_did_not_answer(lost) -> None:
    """hf_xet, which moves large files, raises errors of its own kind."""
    with pytest.raises(HubUnreachable, match="did not answer"), translated("org/m", "main"):
        raise lost("Network error")
