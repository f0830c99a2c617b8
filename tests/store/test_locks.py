"""Several builds at once share one result and never touch each other's folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ovrecipe.store.locks import noted_process
from ovrecipe.store.publish import stagings
from ovrecipe.store.store import Store
from tests.store.making import fill, key_of, make

BUILDER = """
import sys
from pathlib import Path
from ovrecipe.store.store import Store
from tests.store.making import fill, key_of

root = Path(sys.argv[1])
store = Store(root / "store")
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    key = key_of(number=number)
    with store.lock(key):
        if not store.has(key):
            with (root / "built").open("a") as stream:
                stream.write(f"{number}\\n")
            with store.staging(key) as staging_dir:
                fill(staging_dir)
                store.publish(key, staging_dir)
"""

STAGER = """
import sys
from pathlib import Path
from ovrecipe.store.store import Store
from tests.store.making import fill, key_of

with Store(Path(sys.argv[1])).staging(key_of()) as staging_dir:
    fill(staging_dir)
    print(staging_dir, flush=True)
    sys.stdin.readline()
"""


def started(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_that_want_one_artifact_build_it_once(tmp_path: Path) -> None:
    """Two terminals, or doit -n 2, with one model."""
    builders = [started(BUILDER, tmp_path) for _ in range(4)]
    assert [line_of(builder) for builder in builders] == ["ready"] * 4
    for builder in builders:
        builder.communicate("go\n")
    assert [builder.returncode for builder in builders] == [0] * 4
    assert sorted((tmp_path / "built").read_text().split()) == ["0", "1", "2", "3", "4"]
    assert stagings(tmp_path / "store") == []


def test_threads_that_want_one_artifact_build_it_once(store: Store) -> None:
    built = []

    def build() -> None:
        with store.lock(key_of()):
            if not store.has(key_of()):
                built.append(threading.get_ident())
                with store.staging(key_of()) as staging_dir:
                    fill(staging_dir)
                    store.publish(key_of(), staging_dir)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_who_waits_is_told_for_what(store: Store) -> None:
    """A terminal that stands still without a word looks broken."""
    told: list[str] = []
    has_told = threading.Event()

    def wait() -> None:
        with store.lock(key_of(), waiting=lambda text: (told.append(text), has_told.set())[0]):
            pass

    second = threading.Thread(target=wait)
    with store.lock(key_of(), waiting=told.append):
        second.start()
        has_told.wait()
    second.join()
    assert told == [f"this build is making base {key_of().short}; waiting for it"]


def test_another_process_is_named(store: Store) -> None:
    script = (
        "import sys; from pathlib import Path; from ovrecipe.store.store import Store\n"
        "from tests.store.making import key_of\n"
        "with Store(Path(sys.argv[1])).lock(key_of()):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    holder = started(script, store.root)
    assert line_of(holder) == "held"
    told: list[str] = []

    def let_go(text: str) -> None:
        told.append(text)
        holder.communicate("done\n")

    with store.lock(key_of(), waiting=let_go):
        assert f"(process {holder.pid})" in told[0]


def test_different_keys_do_not_wait_for_each_other(store: Store) -> None:
    with store.lock(key_of(n=1), waiting=pytest.fail), store.lock(key_of(n=2), waiting=pytest.fail):
        pass


def test_an_error_of_the_build_comes_through_unchanged(store: Store) -> None:
    """A stage's own OSError is not one of the store's."""
    with pytest.raises(PermissionError, match="the exporter's"), store.lock(key_of()):
        raise PermissionError(13, "the exporter's")


@pytest.mark.skipif(os.name == "nt", reason="kills with a signal")
def test_the_folder_of_a_killed_build_goes_with_the_next_build(store: Store) -> None:
    """Gigabytes of a stage that died must not wait for somebody to think of gc."""
    builder = started(STAGER, store.root)
    stale = line_of(builder)
    builder.send_signal(signal.SIGKILL)
    builder.communicate()
    assert [str(folder) for folder in stagings(store.root)] == [stale]
    with store.staging(key_of()) as staging_dir:
        assert stagings(store.root) == [staging_dir]


def test_the_folder_of_a_living_build_stays(store: Store) -> None:
    """Staging needs no lock on the key, so this one must be told from a leftover by itself."""
    builder = started(STAGER, store.root)
    alive = line_of(builder)
    with store.staging(key_of()) as staging_dir:
        assert {str(folder) for folder in stagings(store.root)} == {alive, str(staging_dir)}
    builder.communicate("done\n")
    assert builder.returncode == 0
    assert stagings(store.root) == []


@pytest.mark.parametrize("note", ["", "null", "1 2"])
def test_a_note_that_says_nothing_is_none(tmp_path: Path, note: str) -> None:
    """A kill while it is written, a disk error or another version may leave anything."""
    (tmp_path / "a.pid").write_text(note)
    assert noted_process(tmp_path / "a.lock") is None


def test_what_a_killed_process_used_is_free(store: Store) -> None:
    """The system lets go of its locks, so nothing has to be put in order by hand."""
    script = (
        "import sys; from pathlib import Path; from ovrecipe.store.store import Store\n"
        "from tests.store.making import key_of\n"
        "with Store(Path(sys.argv[1])).lock(key_of('weights', key_of())):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    make(store, key_of())
    builder = started(script, store.root)
    assert line_of(builder) == "held"
    assert not store.discard_if_unused("base", key_of().sha256)
    builder.kill()
    builder.communicate()
    assert store.discard_if_unused("base", key_of().sha256)
