"""The converter writes two different models that GenAI opens, or says what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from ovrecipe.errors import StageError
from tests.tokenizer.conftest import KINDS, convert
from tests.twins import make_tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_and_detokenizer_are_two_models(converted, kind) -> None:
    """The tutorial overwrote the detokenizer with the tokenizer."""
    from openvino import Core

    _, tokenizer_dir = converted(kind)
    core = Core()
    import openvino_tokenizers  # noqa: F401 - teaches the core the operations

    tokenizer = core.read_model(tokenizer_dir / "openvino_tokenizer.xml")
    detokenizer = core.read_model(tokenizer_dir / "openvino_detokenizer.xml")
    assert {output.get_any_name() for output in tokenizer.outputs} == {
        "input_ids",
        "attention_mask",
    }
    assert [port.get_element_type().get_type_name() for port in tokenizer.inputs] == ["string"]
    assert [port.get_element_type().get_type_name() for port in detokenizer.inputs] == ["i64"]
    assert [port.get_element_type().get_type_name() for port in detokenizer.outputs] == ["string"]


@pytest.mark.model
def test_writes_the_tokenizers_own_files(converted) -> None:
    """Other programs read the artifact too."""
    checkpoint_dir, tokenizer_dir = converted("smollm2")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tokenizer_dir / name).is_file()
    template = (checkpoint_dir / "chat_template.jinja").read_text("utf-8")
    assert (tokenizer_dir / "chat_template.jinja").read_text("utf-8") == template


@pytest.mark.model
def test_genai_finds_template_and_special_tokens(converted) -> None:
    """GenAI takes them from the tokenizer model's rt_info."""
    import openvino_genai

    checkpoint_dir, tokenizer_dir = converted("smollm2")
    pair = openvino_genai.Tokenizer(tokenizer_dir)
    found = (pair.get_bos_token(), pair.get_eos_token(), pair.get_pad_token_id())
    assert found == ("<|im_start|>", "<|im_end|>", 2)
    template = (checkpoint_dir / "chat_template.jinja").read_text("utf-8")
    assert pair.get_original_chat_template() == template


@pytest.mark.model
def test_pads_on_the_left(converted) -> None:
    """A batch of prompts must end together, or the shorter ones continue padding."""
    import openvino_genai

    _, tokenizer_dir = converted("smollm2")
    inputs = openvino_genai.Tokenizer(tokenizer_dir).encode(["a", "a b c"])
    assert [int(bit) for bit in inputs.attention_mask.data[0]] == [0, 0, 1]


@pytest.mark.model
def test_a_class_that_does_not_fit_its_file_is_not_believed(converted, tmp_path) -> None:
    """Transformers 5 builds a LlamaTokenizer anew and makes nonsense of byte-level tokens."""
    import openvino_genai

    checkpoint_dir, _ = converted("smollm2")
    named_wrongly = tmp_path / "checkpoint"
    named_wrongly.mkdir()
    shutil.copy(checkpoint_dir / "tokenizer.json", named_wrongly)
    settings = json.loads((checkpoint_dir / "tokenizer_config.json").read_text("utf-8"))
    settings["tokenizer_class"] = "LlamaTokenizerFast"
    (named_wrongly / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    pair = openvino_genai.Tokenizer(convert(named_wrongly, tmp_path / "tokenizer"))
    ids = [int(token) for token in pair.encode(" 123 é").input_ids.data[0]]
    assert ids == [216, 33, 34, 35, 26411]


def test_spaces_are_not_cleaned_up(tmp_path) -> None:
    """`clean_up_tokenization_spaces: true` in a checkpoint would damage code in answers."""
    import openvino_genai

    make_tokenizer(tmp_path / "checkpoint", "neox")
    path = tmp_path / "checkpoint" / "tokenizer_config.json"
    settings = {**json.loads(path.read_text("utf-8")), "clean_up_tokenization_spaces": True}
    path.write_text(json.dumps(settings), "utf-8")
    pair = openvino_genai.Tokenizer(convert(tmp_path / "checkpoint", tmp_path / "tokenizer"))
    text = "a , b . c ! 's n't"
    assert pair.decode(list(pair.encode(text).input_ids.data[0])) == text


def test_a_damaged_tokenizer_is_reported(tmp_path) -> None:
    """Optimum turns this into a warning and exits with 0."""
    make_tokenizer(tmp_path / "checkpoint", "neox")
    path = tmp_path / "checkpoint" / "tokenizer.json"
    path.write_text(path.read_text("utf-8")[:500], "utf-8")
    with pytest.raises(StageError, match=r"transformers cannot read the tokenizer"):
        convert(tmp_path / "checkpoint", tmp_path / "tokenizer")


def test_what_has_no_openvino_form_is_reported(tmp_path) -> None:
    """A model without its tokenizer must not look like a success."""
    make_tokenizer(tmp_path / "checkpoint", "neox")
    path = tmp_path / "checkpoint" / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["normalizer"] = {"type": "Nmt"}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StageError, match=r"openvino_tokenizers cannot convert.*Nmt"):
        convert(tmp_path / "checkpoint", tmp_path / "tokenizer")


def test_the_module_loads_nothing_heavy() -> None:
    """Planning a build asks converters for their names and versions only."""
    code = (
        "import sys, ovrecipe.builtin.tokenizer, ovrecipe.builtin.hub, "
        "ovrecipe.builtin.local, ovrecipe.builtin.gguf, "
        "ovrecipe.conformance.compare; "
        "heavy = {'torch', 'transformers', 'openvino', 'huggingface_hub', 'numpy', 'gguf'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
