"""A plugin whose providers misbehave on purpose; loaded with `-p` by the tests of the graph."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ovrecipe.errors import CheckpointNotFound
from ovrecipe.hooks.roles import Estimate
from ovrecipe.hooks.specs import hookimpl

WEIGHTS = b"weights" * 100
HANG = "import signal; signal.pause()"


class MadeSource:
    """`made:TEXT`: a checkpoint that is nothing but its text.

    `made:none` does not exist, and `made:bug` is one that the source does not expect.
    """

    def pin(self, request: Any) -> dict[str, Any]:
        if request.location == "none":
            raise CheckpointNotFound("made:none: no such checkpoint", remedy="name another")
        if request.location == "bug":
            raise KeyError(request.location)
        return {"text": request.location}

    def fetch(self, request: Any, pin: Any, checkpoint_dir: Path) -> None:
        request.progress("writing", done=1, total=2, unit="B")
        (checkpoint_dir / "config.json").write_text(json.dumps({"text": pin["text"]}))


#: An IR of one compressed matrix, as far as types, shapes and edges go.
NET = """<net><layers>
<layer id="0" name="weight" type="Const"><data element_type="{dtype}" shape="32,2,{group}"/></layer>
<layer id="1" name="scale" type="Const"><data element_type="f16" shape="32,2,1"/></layer>
<layer id="2" name="scaled" type="Multiply"/>
<layer id="3" name="rows" type="Reshape"/>
<layer id="4" name="__module.model.layers.0.proj/MatMul" type="MatMul"/>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
<edge from-layer="3" from-port="2" to-layer="4" to-port="1"/>
</edges></net>"""


def net(precision: str, group_size: int | None) -> str:
    """Return what a compressor writes that does as it is told."""
    dtype = {"fp16": "f16", "int8": "u8", "int4": "u4"}[precision]
    return NET.format(dtype=dtype, group=group_size or 64)


def write_ir(output_dir: Path, xml: str = "<net/>") -> None:
    (output_dir / "openvino_model.xml").write_text(xml)
    (output_dir / "openvino_model.bin").write_bytes(WEIGHTS)
    (output_dir / "config.json").write_text("{}")


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_without_a_word() -> None:
    print("the last words", file=sys.stderr)
    sys.stderr.flush()
    os._exit(3)


def hang_with_a_child() -> None:
    """Say that it has begun, on a pipe that is open until this process and its child are gone."""
    pipe = os.open(os.environ["FAKE_PIPE"], os.O_WRONLY)
    subprocess.Popen([sys.executable, "-c", HANG], pass_fds=[pipe])
    os.write(pipe, b"begun\n")
    signal.pause()


def raise_a_bug() -> None:
    raise ZeroDivisionError("a bug of the exporter")


def print_a_lot() -> None:
    print("noise on standard output")
    os.write(1, b"noise below python\n")


def end_itself() -> None:
    """As a person or a supervisor does who ends one process of a build."""
    os.kill(os.getpid(), signal.SIGTERM)


def fail_as_a_writer() -> None:
    """OpenVINO's writer says no more of a full disk, and removes what it had half written."""
    raise RuntimeError("basic_ios::clear: iostream error")


def remove_the_store() -> None:
    """As `rm -rf store` in another terminal."""
    shutil.rmtree(Path(os.environ["TMPDIR"]).parents[1])


class FakeExporter:
    """Writes an IR that is none, after doing what its name says."""

    packages = ("pluggy",)
    version = 1

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before

    def export(self, job: Any) -> None:
        (job.output_dir / "half-written").write_text("x")
        self._before()
        (job.output_dir / "half-written").unlink()
        write_ir(job.output_dir)
        note_call("base")


def note_call(what: str) -> None:
    """Leave a mark for tests that count calls."""
    path = os.environ.get("FAKE_CALLS")
    if path:
        with Path(path).open("a") as calls:
            calls.write(what + "\n")


class FakeCompressor:
    """Copies the IR and notes that it was called."""

    packages = ("pyyaml",)

    def compress(self, job: Any) -> dict[str, Any]:
        note_call(f"weights {job.compression.group_size}")
        write_ir(job.output_dir, net(job.precision, job.compression.group_size))
        return {}


class Limits(BaseModel):
    """What `picky` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_size_mb: int = 40


class PickyCompressor(FakeCompressor):
    """Takes options, and writes down those it was given."""

    options_model = Limits

    def compress(self, job: Any) -> dict[str, Any]:
        return {**super().compress(job), "max_size_mb": job.options.max_size_mb}


class RefusingCompressor(FakeCompressor):
    """Knows beforehand that it will fail."""

    def problems(self, compression: Any, precision: str, shapes: Any) -> list[str]:
        return [f"{precision} is beyond me"]


class HungryCompressor(FakeCompressor):
    """Needs more memory than any machine has."""

    def estimate(self, compression: Any, precision: str, tensors: Any) -> Estimate:
        return Estimate(disk_bytes=0, memory_bytes=10**16)


class MeddlingCompressor(FakeCompressor):
    """Writes a file that is the tokenizer's."""

    def compress(self, job: Any) -> dict[str, Any]:
        (job.output_dir / "tokenizer.json").write_text("{}")
        return super().compress(job)


class OddCompressor(FakeCompressor):
    """Answers with the wrong type."""

    def problems(self, compression: Any, precision: str, shapes: Any) -> Any:
        return 7


def write_a_megabyte() -> None:
    """Fill what a small disk has; the working folder of the process is not the store's."""
    (Path(os.environ["TMPDIR"]) / "large").write_bytes(bytes(1_000_000))


def write_with_openvino() -> None:
    """Save a model of a megabyte, as exporters and compressors do."""
    import numpy as np
    import openvino as ov

    constant = ov.op.Constant(np.random.default_rng(0).random((512, 512), np.float32))
    model = ov.Model([ov.opset13.result(constant)], [])
    ov.save_model(model, Path(os.environ["TMPDIR"]) / "model.xml", compress_to_fp16=False)


def say_half_a_line() -> None:
    """Leave half an event behind, as a process that is killed while it writes."""
    for fd in range(3, 20):
        with contextlib.suppress(OSError):
            if str(Path(f"/proc/self/fd/{fd}").readlink()).startswith("pipe:"):
                os.write(fd, b'{"event": "do')
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_child_behind() -> None:
    """End while a child still holds the stream of events."""
    subprocess.Popen([sys.executable, "-c", HANG], close_fds=False)
    os._exit(3)


def leave_a_stubborn_child() -> None:
    """End while a child goes on that does not heed SIGTERM; the pipe is open until it is gone."""
    pipe = os.open(os.environ["FAKE_PIPE"], os.O_WRONLY)
    code = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)\n{HANG}"
    )
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[pipe], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    os._exit(3)


EXPORTERS: dict[str, Callable[[], None]] = {
    "fine": lambda: None,
    "killed": kill_itself,
    "silent": leave_without_a_word,
    "hangs": hang_with_a_child,
    "bug": raise_a_bug,
    "noisy": print_a_lot,
    "large": write_a_megabyte,
    "ended": end_itself,
    "writer": fail_as_a_writer,
    "openvino": write_with_openvino,
    "removes": remove_the_store,
    "half-line": say_half_a_line,
    "child": leave_a_child_behind,
    "stubborn": leave_a_stubborn_child,
}


COMPRESSORS = {
    "fake": FakeCompressor,
    "meddling": MeddlingCompressor,
    "odd": OddCompressor,
    "picky": PickyCompressor,
    "refusing": RefusingCompressor,
    "hungry": HungryCompressor,
}


@hookimpl
def providers() -> Any:
    return {
        "source": {"made": MadeSource},
        "exporter": {name: FakeExporter(before) for name, before in EXPORTERS.items()},
        "compressor": COMPRESSORS,
    }
