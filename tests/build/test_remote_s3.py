"""A bucket as the store elsewhere: s3fs against moto's server on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
import s3fs

from ovrecipe.build.execute import ViewWork, Work
from ovrecipe.build.remote import Remote
from ovrecipe.build.taking import give, take
from ovrecipe.errors import ArtifactCorrupt, RemoteUnreachable
from ovrecipe.recipe.project import Project
from ovrecipe.store.key import Key
from ovrecipe.store.manifest import verify
from ovrecipe.store.views import view_target
from tests.build.making import FAKE_PLUGIN, SAID, context_of, push_all
from tests.build.test_remote import remotely
from tests.conftest import CommandLine


@dataclass
class Bucket:
    """A bucket on loopback, and the requests that were made of its server."""

    name: str
    endpoint: str
    asked: list[str] = field(default_factory=list)
    #: Called with a request before it is answered.
    watch: Callable[[dict[str, Any]], object] = print

    @property
    def url(self) -> str:
        return f"s3://{self.name}/store"

    def says_who(self, *, checked: bool) -> None:
        """From now on keys are checked, or not; whatever key we have is none that it knows."""
        data, kind = (b"0" if checked else b"inf"), {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.endpoint}/moto-api/reset-auth", data=data, headers=kind)).close()

    def sent(self) -> list[str]:
        """Return what was written since it was last asked, by the folder below the store."""
        puts = [line for line in self.asked if line.startswith("PUT ")]
        self.asked.clear()
        return [line.split("/store/")[1].split("/")[0] for line in puts]


@pytest.fixture(scope="session")
def server() -> Iterator[Bucket]:
    """A server of moto; by the environment it is found as any other would be."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
            pass

    application = DomainDispatcherApplication(create_backend_app)

    def noting(environ: dict[str, Any], start_response: Any) -> Any:
        found.asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        found.watch(environ)
        return application(environ, start_response)

    listening = make_server("127.0.0.1", 0, noting, threaded=True, request_handler=Quiet)
    found = Bucket("none", f"http://127.0.0.1:{listening.port}")
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        s3fs.S3FileSystem.clear_instance_cache()
        yield found
    listening.shutdown()
    thread.join()
    listening.server_close()


NUMBERS = count()


def directory(project: Project) -> Work:
    """Return the work that makes the directory of `m:int4`."""
    return ViewWork(context_of(project).plan("m"), "int4").assembled


@pytest.fixture
def bucket(server: Bucket) -> Bucket:
    """An empty bucket of the test's own."""
    server.name = f"bucket-{next(NUMBERS)}"
    server.watch = lambda _: None
    s3fs.S3FileSystem().mkdir(server.name)
    server.asked.clear()
    return server


def test_what_was_pushed_is_pulled_on_another_machine(
    ovrecipe: CommandLine, built: Project, other: Project, bucket: Bucket
) -> None:
    """By the commands, as from a folder."""
    done = ovrecipe("-p", FAKE_PLUGIN, "push", "m:int4", bucket.url, cwd=built.root)
    assert done.code == 0, done.err
    assert f"4 artifacts sent to {bucket.url}, 0 were there" in done.out
    done = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", bucket.url, cwd=other.root)
    assert done.code == 0, done.err
    assert f"4 artifacts taken from {bucket.url}, 0 were here\nmodels/m/int4\n" in done.out
    found = view_target(other.models_dir, "m", "int4")
    assert (found / "openvino_model.bin").read_text() == "assemble"
    assert verify(context_of(other).store.folders()) == []


def test_a_build_takes_from_the_bucket(
    ovrecipe: CommandLine, built: Project, other: Project, bucket: Bucket
) -> None:
    """Where the project says so."""
    push_all(built, Remote(bucket.url))
    (other.root / "ovrecipe.toml").write_text(f'remote = "{bucket.url}"\n')
    done = ovrecipe("-p", FAKE_PLUGIN, "build", "m:int4", cwd=other.root)
    assert done.code == 0, done.err
    assert f"taken from {bucket.url}" in done.err


def test_only_what_is_missing_is_sent(built: Project, bucket: Bucket) -> None:
    """What was asked before is asked again: another machine may have written, or removed."""
    remote = Remote(bucket.url)
    assert None not in push_all(built, remote)
    assert sorted(set(bucket.sent())) == ["artifacts", "files"]
    assert push_all(built, remote) == [None] * 4
    assert bucket.sent() == []
    assembled = directory(built)
    files = s3fs.S3FileSystem()
    files.rm_file(remote._manifest_path("assemble", assembled.key().sha256))
    assert give(assembled, remote, SAID) == 0
    assert bucket.sent() == ["artifacts"]


@pytest.mark.parametrize("damage", [b"assembl3", b"ass", None])
def test_damage_in_the_bucket_is_found_on_arrival(
    built: Project, other: Project, bucket: Bucket, damage: bytes | None
) -> None:
    """And the remedy is one."""
    remote, files = Remote(bucket.url), s3fs.S3FileSystem()
    push_all(built, remote)
    assembled = directory(other)
    [entry] = remote.manifest(assembled.key()).files.values()
    path = remote._file_path(entry.sha256)
    files.rm_file(path) if damage is None else files.pipe_file(path, damage)
    with pytest.raises(ArtifactCorrupt, match=f"^{bucket.url}/files/{entry.sha256}: is "):
        take(assembled, remote, SAID)
    assert not assembled.context.store.has(assembled.key())
    if damage is not None:
        files.rm_file(path)
    assert push_all(built, remote) == [None, None, len(b"assemble"), None]
    assert take(assembled, remote, SAID)


def publish_large(project: Project, size_bytes: int) -> Key:
    """Replace the directory of `m:int4` by one with a large file, and return its key."""
    assembled = directory(project)
    store, key = assembled.context.store, assembled.key()
    facts = store.manifest(key).facts
    store.remove(key)
    with store.staging(key) as staging_dir:
        path = staging_dir / "openvino_model.bin"
        path.touch()
        os.truncate(path, size_bytes)
        store.publish(key, staging_dir, facts=facts)
    return key


def killed_at(
    request: Callable[[dict[str, Any]], bool], bucket: Bucket, command: str, project: Project
) -> None:
    """Run a command that is killed when it makes a request, before that is answered."""
    pids: SimpleQueue[int] = SimpleQueue()

    def kill(environ: dict[str, Any]) -> None:
        if request(environ):
            bucket.watch = lambda _: None
            os.kill(pids.get(), signal.SIGKILL)

    bucket.watch = kill
    words = ["-p", FAKE_PLUGIN, command, "m:int4", bucket.url]
    call = [sys.executable, "-m", "ovrecipe", *words]
    with subprocess.Popen(call, cwd=project.root, stderr=subprocess.PIPE) as process:
        pids.put(process.pid)
        _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said


@pytest.mark.slow
def test_a_push_that_was_killed_lists_nothing_and_goes_on(built: Project, bucket: Bucket) -> None:
    """Large files go in parts of 50 MiB; those of an upload that was not ended are no file."""
    size_bytes = 2 * 50 * 2**20
    key, remote = publish_large(built, size_bytes), Remote(bucket.url)
    killed_at(lambda asked: "partNumber=2" in asked["QUERY_STRING"], bucket, "push", built)
    assert remote.manifest(key) is None
    [entry] = context_of(built).store.manifest(key).files.values()
    assert not remote._has_file(entry)
    assert size_bytes in push_all(built, remote)
    assert remote.manifest(key)
    assert remote._has_file(entry)


@pytest.mark.slow
def test_a_pull_that_was_killed_goes_on_within_a_file(
    ovrecipe: CommandLine, built: Project, other: Project, bucket: Bucket
) -> None:
    """What came is not asked for again."""
    key, remote = publish_large(built, 60 * 2**20), Remote(bucket.url)
    push_all(built, remote)
    [entry] = remote.manifest(key).files.values()
    ranges: list[int] = []

    def is_second(asked: dict[str, Any]) -> bool:
        if asked["REQUEST_METHOD"] == "GET" and asked["PATH_INFO"].endswith(entry.sha256):
            ranges.append(int(asked["HTTP_RANGE"].removeprefix("bytes=").split("-")[0]))
        return len(ranges) == 2

    killed_at(is_second, bucket, "pull", other)
    assert ranges[0] == 0
    ranges.clear()
    bucket.watch = is_second
    done = ovrecipe("-p", FAKE_PLUGIN, "pull", "m:int4", bucket.url, cwd=other.root)
    assert done.code == 0, done.err
    assert ranges[0] > 0
    assert verify(context_of(other).store.folders()) == []


class TestRefused:
    """What the bucket's server refuses is one error with the URL and what to do."""

    @pytest.mark.parametrize("command", ["push", "pull"])
    def test_a_bucket_that_is_not_there(
        self, ovrecipe: CommandLine, built: Project, other: Project, bucket: Bucket, command: str
    ) -> None:
        """Is no place where nobody has pushed yet."""
        url = "s3://no-such-bucket/store"
        root = (built if command == "push" else other).root
        done = ovrecipe("-p", FAKE_PLUGIN, command, "m:int4", url, cwd=root)
        assert done.code == 9
        assert f"{url} cannot be used: " in done.said
        assert "The specified bucket does not exist" in done.said
        assert "make the bucket, or correct the URL" in done.said

    def test_to_a_build_it_is_a_remote_that_does_not_answer(
        self, other: Project, bucket: Bucket
    ) -> None:
        """Of which it warns once, and builds here."""
        context = remotely(other, "s3://no-such-bucket/store")
        with pytest.raises(RemoteUnreachable, match="bucket does not exist"):
            context.remote.manifest(ViewWork(context.plan("m"), "int4").assembled.key())

    def test_a_wrong_key(self, ovrecipe: CommandLine, built: Project, bucket: Bucket) -> None:
        """The remedy names what a key must allow."""
        bucket.says_who(checked=True)
        try:
            done = ovrecipe("-p", FAKE_PLUGIN, "push", "m:int4", bucket.url, cwd=built.root)
        finally:
            bucket.says_who(checked=False)
        assert done.code == 9
        assert f"{bucket.url} cannot be used: PermissionError" in done.said
        assert "they must allow to list and to read" in done.said
