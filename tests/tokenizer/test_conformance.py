"""The tokenizer gate passes what is right and refuses what is wrong, saying why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ovrecipe.builtin.gguf import distribution_file
from ovrecipe.conformance.compare import (
    ConformanceReport,
    Difference,
    check_conformance,
    compare_tokenizers,
)
from ovrecipe.conformance.corpus import lossless_texts
from ovrecipe.errors import GateError
from tests.conftest import SMOLLM2
from tests.tokenizer.conftest import KINDS, convert
from tests.twins import make_tokenizer

PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def compared(checkpoint_dir: Path, tokenizer_dir: Path) -> ConformanceReport:
    return compare_tokenizers(
        checkpoint_dir, tokenizer_dir, prompts=[PROMPT], trust_remote_code=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tokenizer_conforms(converted, kind) -> None:
    """Byte-level and byte-fallback, with and without prefix, NFC and runs of spaces."""
    report = compared(*converted(kind))
    check_conformance(report)
    assert report.cases > 1000
    assert report.lossless_texts > 80
    assert report.facts()["failures"] == 0
    assert report.facts()["added_tokens_left_out"] == 0


@pytest.fixture(scope="module")
def wrong_gguf(tmp_path_factory, smollm2_checkpoint) -> tuple[Path, Path]:
    """SmolLM2 with the tokenizer that transformers makes of its GGUF file, and its pair."""
    from openvino import save_model
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("wrong")
    checkpoint_dir, tokenizer_dir = folder / "checkpoint", folder / "tokenizer"
    path = distribution_file(SMOLLM2)
    guessed = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    guessed.save_pretrained(checkpoint_dir)
    for name in ("config.json", "generation_config.json"):
        shutil.copy(smollm2_checkpoint / name, checkpoint_dir)
    read_again = AutoTokenizer.from_pretrained(checkpoint_dir)
    read_again.save_pretrained(tokenizer_dir)
    tokenizer, detokenizer = convert_tokenizer(read_again, with_detokenizer=True)
    save_model(tokenizer, tokenizer_dir / "openvino_tokenizer.xml")
    save_model(detokenizer, tokenizer_dir / "openvino_detokenizer.xml")
    return checkpoint_dir, tokenizer_dir


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # transformers' GGUF loader warns about its own types
def test_the_wrong_gguf_tokenizer_fails(wrong_gguf) -> None:
    """Its pair agrees with it about most ids; what transformers made of its file does not."""
    report = compared(*wrong_gguf)
    assert report.failures > 100
    with pytest.raises(
        GateError, match=r"read tokenizer.json as another tokenizer: its normalizer"
    ):
        check_conformance(report)


@pytest.mark.model
@pytest.mark.filterwarnings("ignore")  # transformers' GGUF loader warns about its own types
def test_the_wrong_gguf_tokenizer_fails_against_the_right_checkpoint(
    wrong_gguf, smollm2_checkpoint
) -> None:
    """With the source's own tokenizer as the reference, ids differ as well."""
    report = compared(smollm2_checkpoint, wrong_gguf[1])
    assert report.failures > 100


def test_a_difference_is_shown_where_it_is(converted) -> None:
    """Another vocabulary behind the same model is the plainest mistake."""
    checkpoint_dir, _ = converted("neox")
    _, tokenizer_dir = converted("codegen")
    with pytest.raises(GateError, match=r"\d+ of \d+ comparisons failed.*\n.*\n  text: ") as raised:
        check_conformance(compared(checkpoint_dir, tokenizer_dir))
    assert "expected: " in str(raised.value)
    assert "got:      " in str(raised.value)


def test_a_tokenizer_that_changes_text_fails(tmp_path) -> None:
    """A byte-level vocabulary behind another decoder: pair and tokenizer agree, both are wrong."""
    make_tokenizer(tmp_path / "checkpoint", "qwen")
    path = tmp_path / "checkpoint" / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["decoder"] = {"type": "Sequence", "decoders": [{"type": "Fuse"}]}
    path.write_text(json.dumps(content), "utf-8")
    tokenizer_dir = convert(tmp_path / "checkpoint", tmp_path / "tokenizer")
    with pytest.raises(GateError, match=r"does not give back the text.*\n.*\n.*\n +got: +'Ġ'"):
        check_conformance(compared(tmp_path / "checkpoint", tokenizer_dir))


def test_a_detokenizer_that_is_the_tokenizer_fails(converted, tmp_path) -> None:
    """The tutorial's own defect."""
    checkpoint_dir, tokenizer_dir = converted("neox")
    broken = shutil.copytree(tokenizer_dir, tmp_path / "broken")
    for suffix in ("xml", "bin"):
        shutil.copy(
            broken / f"openvino_tokenizer.{suffix}", broken / f"openvino_detokenizer.{suffix}"
        )
    with pytest.raises((GateError, RuntimeError)):
        check_conformance(compared(checkpoint_dir, broken))


def test_a_missing_detokenizer_fails(converted, tmp_path) -> None:
    """GenAI opens such a directory and complains only when it should write."""
    checkpoint_dir, tokenizer_dir = converted("neox")
    broken = shutil.copytree(tokenizer_dir, tmp_path / "broken")
    (broken / "openvino_detokenizer.xml").unlink()
    with pytest.raises(GateError, match=r"OpenVINO failed"):
        check_conformance(compared(checkpoint_dir, broken))


def test_ending_texts_with_their_beginning_fails(tmp_path) -> None:
    """A model whose tokenizer takes BOS for EOS never stops, or never starts."""
    ids = make_tokenizer(tmp_path / "checkpoint", "qwen")
    path = tmp_path / "checkpoint" / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**settings, "eos_token": settings["bos_token"]}), "utf-8")
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(ids), "utf-8")
    tokenizer_dir = convert(tmp_path / "checkpoint", tmp_path / "tokenizer")
    with pytest.raises(GateError, match=r"ends texts with the token that begins them"):
        check_conformance(compared(tmp_path / "checkpoint", tokenizer_dir))


def test_ids_beyond_the_model_fail(converted, tmp_path) -> None:
    """The embedding would be read out of bounds."""
    checkpoint_dir, tokenizer_dir = converted("neox")
    smaller = shutil.copytree(checkpoint_dir, tmp_path / "checkpoint")
    (smaller / "config.json").write_text(json.dumps({"vocab_size": 300}), "utf-8")
    with pytest.raises(GateError, match=r"ids beyond the model's vocabulary of 300"):
        check_conformance(compared(smaller, tokenizer_dir))


def test_what_follows_a_long_common_beginning_is_shown() -> None:
    """The message shows the place, not the first sixty characters."""
    found = Difference("decoded text", "x", "a" * 200 + "RIGHT", "a" * 200 + "WRONG")
    assert "RIGHT" in found.describe()
    assert "WRONG" in found.describe()


@pytest.mark.parametrize(
    "settings",
    [
        {"model": {"type": "WordPiece", "vocab": {}}},
        {"model": {"type": "BPE", "vocab": {"a": 0}}},
        {"model": {"type": "BPE", "vocab": {"Ġ": 0}}, "normalizer": {"type": "Lowercase"}},
        {},
    ],
)
def test_nothing_lossless_is_expected_of_lossy_tokenizers(settings) -> None:
    """A lower-casing tokenizer is not broken because it lowers case."""
    assert list(lossless_texts(settings, ["a", "B"])) == []


def test_a_checkpoint_without_tokenizer_json_can_conform(tmp_path) -> None:
    """Half a character of a byte-fallback vocabulary is no difference there either."""
    make_tokenizer(tmp_path / "checkpoint", "spm")
    (tmp_path / "checkpoint" / "tokenizer.json").unlink()
    tokenizer_dir = convert(tmp_path / "checkpoint", tmp_path / "tokenizer")
    check_conformance(compared(tmp_path / "checkpoint", tokenizer_dir))
