"""What is computed once: scores, statistics and texts for a base, models that round for a pass."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin import nncf
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.nncf_once import FILE_NAME
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import CompressionPass
from tests.compress.conftest import Recorder

# NNCF and OpenVINO warn about their own code.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]
Passed = Callable[..., tuple[bytes, bytes]]
#: Three samples, of which the model writes as many texts.
DATA: dict[str, Any] = {"dataset": "generated", "num_samples": 3}
#: A pass in a process of its own; it says how often it ran the model along a sample.
PASS = """
import sys
from pathlib import Path
from nncf.openvino.engine import OVCompiledModelEngine
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.testing.checks import compression_job

base_dir, output_dir, cache_dir = map(Path, sys.argv[1:])
own, ran = OVCompiledModelEngine.infer, []
OVCompiledModelEngine.infer = lambda *args: ran.append(1) or own(*args)
output_dir.mkdir()
knobs = {"group_size": 32, "awq": True, "dataset": "generated", "num_samples": 3}
NncfCompressor().compress(compression_job(base_dir, output_dir, cache_dir=cache_dir, **knobs))
print("ran", len(ran))
"""


@pytest.fixture(scope="module")
def layers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IR of six matrices, each with other weights."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    random = np.random.default_rng(4)
    node = given = ops.parameter([1, 160], ov.Type.f32, name="input")
    for number in range(6):
        weight = random.standard_normal((160, 160)) * random.uniform(0.1, 4, (160, 1))
        constant = ops.constant(weight.astype(np.float32), name=f"layer{number}.weight")
        node = ops.matmul(node, constant, transpose_a=False, transpose_b=True, name=f"l{number}")
    folder = tmp_path_factory.mktemp("base")
    ov.save_model(ov.Model([node], [given]), folder / "openvino_model.xml", compress_to_fp16=False)
    (folder / "config.json").write_text("{}")
    return folder


def compressed(base_dir: Path, output_dir: Path, cache_dir: Path | None, **knobs: Any) -> bytes:
    """Compress the base; return the bytes."""
    output_dir.mkdir()
    job = CompressionJob(
        input_dir=knobs.pop("input_dir", base_dir),
        base_dir=base_dir,
        output_dir=output_dir,
        compression=CompressionPass.model_validate({"group_size": 16, "ratio": 0.5, **knobs}),
        precision="int4",
        recipe=sample_recipe(),
        options=None,
        progress=lambda *_, **__: None,
        cache_dir=cache_dir,
    )
    NncfCompressor().compress(job)
    return (output_dir / "openvino_model.bin").read_bytes()


@pytest.mark.parametrize(
    "knobs",
    [{}, {"mode": "int8_asym"}, {"mode": "int8_sym"}, {"sym": True, "ratio": 1.0}, {"mode": "nf4"}],
)
def test_models_that_round_weights_are_compiled_once(
    layers_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knobs: dict[str, Any]
) -> None:
    """One for a mode, not one for each of six matrices; the weights are NNCF's own, to the bit."""
    from nncf.openvino.optimized_functions import models

    compiled: list[int] = []
    own = models._compile_ov_model

    def counted(*args: Any, **kwargs: Any) -> Any:
        compiled.append(1)
        return own(*args, **kwargs)

    monkeypatch.setattr(models, "_compile_ov_model", counted)
    if knobs.get("mode", "").startswith("int8"):
        knobs = {**knobs, "group_size": None, "ratio": None}
    mine = compressed(layers_dir, tmp_path / "mine", None, **knobs)
    used, compiled[:] = len(compiled), []
    with monkeypatch.context() as patch:
        patch.setattr(nncf, "compiled_once", nullcontext)
        assert compressed(layers_dir, tmp_path / "nncf", None, **knobs) == mine
    assert used < len(compiled)
    assert used <= 4


def test_remembered_scores_choose_the_same_weights(layers_dir: Path, tmp_path: Path) -> None:
    """Byte for byte, for other group sizes and ratios too."""
    cache_dir = tmp_path / "cache"
    compressed(layers_dir, tmp_path / "first", cache_dir)
    known = json.loads((cache_dir / FILE_NAME).read_text())
    assert len({*known.values()}) == len(known) >= 5
    for number, knobs in enumerate(({"ratio": 0.8}, {"group_size": 32}, {"sym": True})):
        mine = compressed(layers_dir, tmp_path / f"mine-{number}", cache_dir, **knobs)
        assert mine == compressed(layers_dir, tmp_path / f"nncf-{number}", None, **knobs)


def test_scores_that_are_known_are_not_computed_again(layers_dir: Path, tmp_path: Path) -> None:
    """Others in the file would choose other weights: it is what counts."""
    cache_dir = tmp_path / "cache"
    right = compressed(layers_dir, tmp_path / "first", cache_dir)
    path = cache_dir / FILE_NAME
    path.write_text(
        json.dumps({name: -score for name, score in json.loads(path.read_text()).items()})
    )
    assert compressed(layers_dir, tmp_path / "second", cache_dir) != right


@pytest.mark.parametrize("content", ["", "[1]", '{"weight": "1"}', "{"])
def test_a_damaged_file_is_written_anew(layers_dir: Path, tmp_path: Path, content: str) -> None:
    """Somebody's disk was full when it was written."""
    (tmp_path / "cache").mkdir()
    path = tmp_path / "cache" / FILE_NAME
    path.write_text(content)
    compressed(layers_dir, tmp_path / "out", tmp_path / "cache")
    assert len(json.loads(path.read_text())) >= 5
    assert [found.name for found in path.parent.iterdir()] == [FILE_NAME]


def test_a_later_pass_remembers_nothing(layers_dir: Path, tmp_path: Path) -> None:
    """It reads what the pass before wrote, where a weight of that name is another one."""
    other_dir = tmp_path / "pass-1"
    compressed(layers_dir, other_dir, None, ignored_scope={"names": ["l0", "l1", "l2"]})
    cache_dir = tmp_path / "cache"
    compressed(layers_dir, tmp_path / "out", cache_dir, input_dir=other_dir)
    assert not cache_dir.exists()


@pytest.fixture
def passed(job_of: Callable[..., CompressionJob], tmp_path: Path) -> Passed:
    """Compress a tiny Llama to INT4 and return both files of the IR."""
    names = (f"pass-{number}" for number in range(100))

    def run(*, cache_dir: Path | None = None, **knobs: Any) -> tuple[bytes, bytes]:
        job = job_of("int4", name=next(names), cache_dir=cache_dir, **{"group_size": 32, **knobs})
        NncfCompressor().compress(job)
        weights, graph = (job.output_dir / f"openvino_model.{end}" for end in ("bin", "xml"))
        return weights.read_bytes(), graph.read_bytes()

    return run


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What NNCF does: each run of the model along a sample, and each weight that it scores."""
    from nncf.openvino.engine import OVCompiledModelEngine
    from nncf.quantization.algorithms.weight_compression import mixed_precision

    done: list[str] = []
    for owner, name, word in (
        (OVCompiledModelEngine, "infer", "ran"),
        (mixed_precision, "get_integer_quantization_error", "scored"),
    ):
        own = getattr(owner, name)

        def counted(*args: Any, own: Any = own, word: str = word, **kwargs: Any) -> Any:
            done.append(word)
            return own(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)
    return done


@pytest.mark.parametrize(
    "knobs",
    [
        {"awq": True},
        {"scale_estimation": True, "sensitivity_metric": "mean_activation_variance"},
        {"lora_correction": True, "sensitivity_metric": "mean_activation_magnitude"},
        {"sensitivity_metric": "hessian_input_activation"},
    ],
)
def test_statistics_are_collected_once_for_a_base(
    passed: Passed, runs: list[str], tmp_path: Path, knobs: dict[str, Any]
) -> None:
    """The next point of a search runs no model, and writes what it would have written alone."""
    cache_dir, knobs = tmp_path / "cache", {**DATA, "ratio": 0.5, **knobs}
    other = {**knobs, "group_size": 16, "ratio": 0.7, "sym": True}
    alone = passed(**other)
    runs.clear()
    passed(cache_dir=cache_dir, **knobs)
    assert runs.count("ran") == 3
    assert "scored" in runs
    runs.clear()
    assert passed(cache_dir=cache_dir, **other) == alone
    assert not runs


def test_a_statistic_more_is_collected_by_itself(
    passed: Passed, runs: list[str], tmp_path: Path
) -> None:
    """Below ratio 1 a metric wants one beside AWQ's, which stays as it is."""
    cache_dir, alone = tmp_path / "cache", passed(**DATA, awq=True, ratio=0.5)
    passed(cache_dir=cache_dir, **DATA, awq=True)
    (kept,) = cache_dir.glob("statistics-*.bin")
    before = kept.stat().st_mtime_ns
    runs.clear()
    assert passed(cache_dir=cache_dir, **DATA, awq=True, ratio=0.5) == alone
    assert runs.count("ran") == 3
    assert kept.stat().st_mtime_ns == before
    assert len([*cache_dir.glob("statistics-*.bin")]) == 2
    runs.clear()
    passed(cache_dir=cache_dir, **DATA, ratio=0.7)
    assert not runs


def test_other_layers_are_collected_by_themselves(
    passed: Passed, runs: list[str], tmp_path: Path
) -> None:
    """What NNCF leaves alone it does not look at, and the model that it runs is another one."""
    cache_dir, scope = tmp_path / "cache", {"patterns": [".*layers.0.*"]}
    knobs = {**DATA, "awq": True, "ignored_scope": scope}
    passed(cache_dir=cache_dir, **DATA, awq=True)
    runs.clear()
    assert passed(cache_dir=cache_dir, **knobs) == passed(**knobs)
    assert runs.count("ran") == 6


def test_the_model_writes_its_texts_once(
    job_of: Callable[..., CompressionJob], tmp_path: Path
) -> None:
    """Token by token, they take longer than the statistics."""
    said = []
    for number, samples in enumerate((3, 3, 4)):
        knobs = {**DATA, "awq": True, "num_samples": samples, "cache_dir": tmp_path / "cache"}
        job = job_of("int4", name=f"pass-{number}", group_size=32, **knobs)
        NncfCompressor().compress(job)
        assert isinstance(job.progress, Recorder)
        said.append("generating calibration text" in [words for words, *_ in job.progress.reports])
    assert said == [True, False, True]


def test_another_data_set_is_noticed(
    passed: Passed, runs: list[str], tokenizer_dir: Path, tmp_path: Path
) -> None:
    """Also of as many tokens under the same name, and the same one under another name."""
    cache_dir, path, copy = tmp_path / "cache", tmp_path / "a.txt", tmp_path / "b.txt"
    knobs: dict[str, Any] = {"awq": True, "dataset": "a.txt", "tokenizer_dir": tokenizer_dir}
    path.write_text("Paris is the capital.\nTwo, three.\n", encoding="utf-8")
    copy.write_bytes(path.read_bytes())
    first = passed(cache_dir=cache_dir, dataset_path=path, **knobs)
    path.write_text("Paris is the capital.\nTwo, threw.\n", encoding="utf-8")
    second = passed(cache_dir=cache_dir, dataset_path=path, **knobs)
    assert second == passed(dataset_path=path, **knobs) != first
    runs.clear()
    assert passed(cache_dir=cache_dir, dataset_path=copy, **knobs) == first
    assert not runs
    passed(cache_dir=cache_dir, dataset_path=copy, num_samples=1, **knobs)
    assert runs == ["ran"]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda _: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content + b"0",
        lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        lambda content: b"0" * 64 + content[64:],
    ],
    ids=["empty", "cut", "longer", "a-bit", "digest"],
)
def test_damaged_statistics_are_collected_anew(
    passed: Passed, runs: list[str], tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    """A wrong number would be another model; what a killed pass left half is no file yet."""
    cache_dir = tmp_path / "cache"
    right = passed(cache_dir=cache_dir, **DATA, awq=True)
    files = {path: path.read_bytes() for path in cache_dir.glob("*.bin")}
    assert len(files) == 2
    for path, content in files.items():
        path.write_bytes(damaged(content))
        path.with_name(f"{path.name}.partial").write_bytes(content[:100])
    runs.clear()
    assert passed(cache_dir=cache_dir, **DATA, awq=True) == right
    assert runs.count("ran") == 3
    assert {path: path.read_bytes() for path in cache_dir.glob("*.bin*")} == files


@pytest.mark.slow
def test_of_two_passes_side_by_side_one_collects(base_dir: Path, tmp_path: Path) -> None:
    """A search measures two points at once, and begins with two."""
    words = [sys.executable, "-W", "ignore", "-c", PASS, base_dir]
    started = [
        subprocess.Popen(
            [*words, tmp_path / name, tmp_path / "cache"], stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    said = [process.communicate()[0].splitlines()[-1] for process in started]
    assert sorted(said) == ["ran 0", "ran 3"]
    one, two = ((tmp_path / name / "openvino_model.bin").read_bytes() for name in ("one", "two"))
    assert one == two


def test_names_that_nncf_leaves_to_openvino_are_numbered_by_themselves(
    job_of: Callable[..., CompressionJob],
) -> None:
    """By a pass behind another too: of one name there are not two."""
    import openvino as ov

    scope = {"patterns": [".*self_attn.*"]}
    first = job_of("int4", group_size=32, awq=True, ignored_scope=scope, name="first")
    NncfCompressor().compress(first)
    second = job_of("int4", mode="int8_sym", input_dir=first.output_dir, name="second")
    NncfCompressor().compress(second)
    model = ov.Core().read_model(second.output_dir / "openvino_model.xml")
    names = [node.get_friendly_name() for node in model.get_ops()]
    assert "Convert_added_0" in names
    assert len({*names}) == len(names)
