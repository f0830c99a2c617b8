"""Loading: what is announced, and how OpenVINO's errors are told."""

from __future__ import annotations

import pytest

from ovrecipe.errors import RunError
from ovrecipe.run.genai import open_pipeline, with_fallback
from ovrecipe.wording import last_line


def without_paged_attention(properties):
    """Construct like a device that knows SDPA only."""
    if properties["ATTENTION_BACKEND"] == "PA":
        raise RunError("m cannot be loaded") from RuntimeError("core.cpp:1\nno paged attention op")
    return properties["ATTENTION_BACKEND"]


def test_falling_back_from_paged_attention_is_announced():
    """GenAI itself does it without a word, and answers become slower."""
    said = []
    assert with_fallback(without_paged_attention, announce=said.append) == "SDPA"
    assert said == ["no paged attention, SDPA is used instead: no paged attention op"]


def test_nothing_is_announced_when_all_is_well():
    """Most loads."""
    said = []
    assert with_fallback(dict, announce=said.append) == {"ATTENTION_BACKEND": "PA"}
    assert said == []


def test_what_fails_both_ways_is_an_error():
    """And no fall-back is announced."""

    def broken(properties):
        raise RunError(f"broken with {properties['ATTENTION_BACKEND']}")

    said = []
    with pytest.raises(RunError, match="broken with SDPA"):
        with_fallback(broken, announce=said.append)
    assert said == []


def test_an_artifact_that_is_no_model_is_refused(tmp_path):
    """In a sentence, with OpenVINO's own error as the cause."""
    pytest.importorskip("openvino_genai")
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "openvino_model.xml").write_text("<net")
    (folder / "openvino_model.bin").write_bytes(b"")
    with pytest.raises(RunError, match=r"^the model cannot be loaded on CPU: ") as told:
        open_pipeline(folder, "CPU", properties={}, announce=print)
    assert isinstance(told.value.__cause__, RuntimeError)


def test_the_sentence_of_an_openvino_error_is_its_last_line():
    """Above it are places in source files of another machine."""
    error = RuntimeError("Exception from a.cpp:1:\nException from b.cpp:2:\nno such device\n\n")
    assert last_line(error) == "no such device"
    assert last_line(RuntimeError("")) == "RuntimeError"
