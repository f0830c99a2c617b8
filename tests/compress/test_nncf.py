"""The compressor `nncf` on a tiny model: modes, methods, passes, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from ovrecipe.build.requested import undone
from ovrecipe.builtin.nncf import NncfCompressor
from ovrecipe.builtin.stored import read_stored
from ovrecipe.errors import StageError
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.recipe.compression import Mode
from tests.compress.conftest import Recorder

# NNCF and OpenVINO warn about their own code.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]
JobOf = Callable[..., CompressionJob]
STORED = {
    "int8_sym": "i8",
    "int8_asym": "u8",
    "int4_sym": "i4",
    "int4_asym": "u4",
    "nf4": "nf4",
    "mxfp4": "f4e2m1",
    "fp4": "f4e2m1",
    "nvfp4": "f4e2m1",
    "mxfp8_e4m3": "f8e4m3",
    "fp8_e4m3": "f8e4m3",
    "cb4": "u4",
}


def read(folder: Path) -> Any:
    import openvino as ov

    return ov.Core().read_model(folder / "openvino_model.xml")


def weights(folder: Path) -> bytes:
    return (folder / "openvino_model.bin").read_bytes()


def objections(job: CompressionJob, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the gate behind the compressor would object to."""
    before, after = read_stored(job.input_dir), read_stored(job.output_dir)
    found = undone(job.compression, job.precision, before, after, facts["applied"])
    return (one.reason for one in found)


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_mode_of_the_schema_compresses(mode: str, job_of: JobOf) -> None:
    """A mode that the schema offers and NNCF refuses would fail after the export."""
    grouped = mode.startswith("int4") or mode in ("nf4", "cb4", "fp4", "fp8_e4m3")
    knobs = {"group_size": 32} if grouped else {}
    job = job_of(mode.split("_", maxsplit=1)[0], mode=mode, **knobs)
    facts = NncfCompressor().compress(job)
    assert isinstance(facts["layers"], dict)
    assert STORED[mode] in facts["layers"]
    assert not list(objections(job, facts))


def test_the_kv_cache_flag_of_the_base_is_removed(job_of: JobOf) -> None:
    """With it a compressed model would keep an f16 cache, slower and larger."""
    job = job_of("int8")
    NncfCompressor().compress(job)
    model = read(job.output_dir)
    assert not model.has_rt_info(["runtime_options", "KV_CACHE_PRECISION"])
    assert model.get_rt_info(["runtime_options", "ACTIVATIONS_SCALE_FACTOR"]).value == "8.0"


def test_two_runs_write_the_same_bytes(job_of: JobOf) -> None:
    """The cache key promises the content."""
    first, second = job_of("int4", group_size=32), job_of("int4", group_size=32, name="again")
    NncfCompressor().compress(first)
    NncfCompressor().compress(second)
    assert weights(first.output_dir) == weights(second.output_dir)


def test_unset_knobs_are_those_of_optimum_intel(job_of: JobOf, base_dir: Path) -> None:
    """`int4: {}` in a recipe is `--weight-format int4` of optimum-cli, whose group is 128."""
    with pytest.raises(StageError, match="group size value 128"):
        NncfCompressor().compress(job_of("int4"))


def test_facts_count_layers_and_bits(job_of: JobOf) -> None:
    """14 matrices of two layers at 4 bits, embedding and head at 8."""
    facts = NncfCompressor().compress(job_of("int4", group_size=32))
    assert facts["layers"] == {"u4": 14, "u8": 2}
    assert 4.5 < float(str(facts["bits_per_weight"])) < 8


def test_all_layers_takes_the_embedding_and_the_head_too(job_of: JobOf) -> None:
    """The knob reaches NNCF."""
    facts = NncfCompressor().compress(job_of("int4", group_size=32, all_layers=True))
    assert facts["layers"] == {"u4": 16}


def test_a_ratio_leaves_the_most_sensitive_layers_at_the_backup(job_of: JobOf) -> None:
    """Mixed precision without data."""
    job = job_of("int4", group_size=32, ratio=0.5, sym=True, backup_mode="int8_sym")
    layers = NncfCompressor().compress(job)["layers"]
    assert isinstance(layers, dict)
    assert set(layers) == {"i4", "i8"}


def test_ignored_scope_keeps_its_layers_in_float(job_of: JobOf) -> None:
    """Patterns are matched by NNCF against the IR's own names."""
    scope = {"patterns": [r".*mlp\.down_proj.*"]}
    facts = NncfCompressor().compress(job_of("int8", ignored_scope=scope))
    assert facts["layers"] == {"u8": 14, "f16": 2}


@pytest.fixture
def positions_dir(tmp_path: Path) -> Path:
    """An IR with a table of positions that is no pattern of NNCF's, as Cohere's, and two layers."""
    import numpy as np
    import openvino as ov
    from openvino import opset15 as ops

    random = np.random.default_rng(20)
    places = ops.parameter([1, 1, -1], np.float32, "position_ids")
    table = ops.matmul(random.random((1, 64, 1), np.float32), places, False, False, name="table")
    found: Any = ops.transpose(ops.sin(table), [0, 2, 1])
    for name in ("first", "last"):
        weight = random.random((64, 64), np.float32)
        found = ops.matmul(found, weight, False, True, name=name)
    folder = tmp_path / "positions"
    folder.mkdir()
    model = ov.Model([found], [places])
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


def test_what_has_no_groups_stays_in_float(job_of: JobOf, positions_dir: Path) -> None:
    """The default of a recipe works for Cohere and Qwen3.5, and says what it left out."""
    job = job_of("int4", group_size=32, input_dir=positions_dir)
    facts = NncfCompressor().compress(job)
    assert facts["left_out"] == ["table"]
    assert facts["layers"] == {"u4": 1, "u8": 1}
    assert isinstance(job.progress, Recorder)
    assert "leaving in float what has no groups: table" in {
        said for said, _, _ in job.progress.reports
    }


def test_with_a_fallback_of_its_own_a_recipe_has_its_way(
    job_of: JobOf, positions_dir: Path
) -> None:
    """`error` asks for NNCF's refusal."""
    job = job_of("int4", group_size=32, group_size_fallback="error", input_dir=positions_dir)
    with pytest.raises(StageError, match="channel size: 1"):
        NncfCompressor().compress(job)


def test_a_second_pass_compresses_what_the_first_one_left(job_of: JobOf) -> None:
    """INT4 for all but the MLP, then INT8 for the MLP; the first pass's integers stay."""
    first = job_of("int4", group_size=32, ignored_scope={"patterns": [r".*mlp.*"]}, name="first")
    NncfCompressor().compress(first)
    second = job_of("int4", mode="int8_sym", input_dir=first.output_dir, name="second")
    facts = NncfCompressor().compress(second)
    assert facts["layers"] == {"u4": 8, "u8": 2, "i8": 6}


def test_saving_over_the_ir_that_is_read_is_refused(job_of: JobOf, tmp_path: Path) -> None:
    """OpenVINO would truncate the file it has mapped, and the process would die of SIGBUS."""
    first = job_of("int8", name="first")
    NncfCompressor().compress(first)
    before = weights(first.output_dir)
    again = CompressionJob(**{**vars(first), "input_dir": tmp_path / "first"})
    with pytest.raises(StageError, match="cannot be saved over"):
        NncfCompressor().compress(again)
    assert weights(first.output_dir) == before


def test_progress_is_forwarded_to_its_end(job_of: JobOf) -> None:
    """A build of an hour must not look hung."""
    job = job_of("int8")
    NncfCompressor().compress(job)
    assert isinstance(job.progress, Recorder)
    bars = [report for report in job.progress.reports if report[0] == "Applying Weight Compression"]
    assert bars[0][1] == 0
    assert bars[-1][1] == bars[-1][2]


def test_nncf_gets_its_own_progress_bar_back(job_of: JobOf) -> None:
    """What was replaced for one call must not outlive it."""
    from nncf.common.logging.track_progress import track

    before = track.__iter__
    NncfCompressor().compress(job_of("int8"))
    assert track.__iter__ is before


def test_awq_without_a_match_is_not_said_to_be_applied(job_of: JobOf) -> None:
    """NNCF says it at level info only, and notes awq in the IR all the same."""
    scope = {"patterns": [r".*self_attn.*", r".*mlp.*"]}
    job = job_of("int4", group_size=32, awq=True, all_layers=True, ignored_scope=scope)
    facts = NncfCompressor().compress(job)
    assert facts["applied"] == []
    assert list(objections(job, facts)) == ["matched nothing in this model and changed nothing"]


def test_awq_without_data_changes_the_weights(job_of: JobOf) -> None:
    """Data-free AWQ is not the same as none."""
    plain, awq = job_of("int4", group_size=32), job_of("int4", group_size=32, awq=True, name="awq")
    NncfCompressor().compress(plain)
    facts = NncfCompressor().compress(awq)
    assert facts["applied"] == ["awq"]
    assert weights(plain.output_dir) != weights(awq.output_dir)


@pytest.mark.parametrize("method", ["awq", "scale_estimation", "gptq", "lora_correction"])
def test_data_aware_methods_run_on_the_users_texts(
    method: str, job_of: JobOf, tokenizer_dir: Path, tmp_path: Path
) -> None:
    """Each goes through the converted tokenizer and a stateful model's inputs."""
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "Paris is the capital."}\n{"text": "Two, three."}\n', "utf-8")
    plain = job_of("int4", group_size=32, name="plain")
    NncfCompressor().compress(plain)
    knobs: dict[str, Any] = {method: True, "dataset": "texts.jsonl", "dataset_path": path}
    job = job_of("int4", group_size=32, tokenizer_dir=tokenizer_dir, **knobs)
    facts = NncfCompressor().compress(job)
    assert facts["applied"] == [method]
    assert not list(objections(job, facts))
    assert weights(plain.output_dir) != weights(job.output_dir)


def test_texts_that_the_model_writes_are_the_same_every_time(base_dir: Path) -> None:
    """Else the cache key would not say what the artifact is."""
    from ovrecipe.builtin.calibration import GREEDY_TOKENS, SAMPLED_TOKENS, generated_ids

    first = generated_ids(base_dir, 3, Recorder())
    assert len(first) == 3
    assert {len(tokens) for tokens in first} == {GREEDY_TOKENS + SAMPLED_TOKENS}
    assert generated_ids(base_dir, 3, Recorder()) == first


def test_mixed_precision_on_generated_text(job_of: JobOf) -> None:
    """`dataset: generated` needs no file and no tokenizer."""
    job = job_of(
        "int4",
        group_size=32,
        ratio=0.5,
        dataset="generated",
        num_samples=2,
        sensitivity_metric="max_activation_variance",
    )
    layers = NncfCompressor().compress(job)["layers"]
    assert isinstance(layers, dict)
    assert {"u4", "u8"} <= set(layers)


def test_fewer_texts_than_asked_for_are_refused(
    job_of: JobOf, tokenizer_dir: Path, tmp_path: Path
) -> None:
    """A calibration on two samples that was meant to have a hundred is not what was asked for."""
    path = tmp_path / "texts.txt"
    path.write_text("one line\n", encoding="utf-8")
    knobs: dict[str, Any] = {"awq": True, "dataset": "texts.txt", "dataset_path": path}
    job = job_of("int4", group_size=32, num_samples=100, tokenizer_dir=tokenizer_dir, **knobs)
    with pytest.raises(StageError, match=r"texts\.txt has 1 samples, 'num_samples' asks for 100"):
        NncfCompressor().compress(job)
