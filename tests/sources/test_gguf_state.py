"""Which tensors a class has, known without torch and by it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict

import pytest

from ovrecipe.builtin.gguf_state import LIKE_LLAMA, like_llama, made, state_of
from ovrecipe.errors import SourceError
from tests.sources.gguf_models import SIZES

CONFIG = {**SIZES, "vocab_size": 300, "head_dim": 32}
FLAGS = ("attention_bias", "mlp_bias", "tie_word_embeddings")


@pytest.mark.parametrize("model_type", LIKE_LLAMA)
@pytest.mark.parametrize("set_to", [False, True])
def test_a_class_laid_out_as_llamas_is_known_as_transformers_makes_it(
    model_type: str, set_to: bool
) -> None:
    """A class that changes in a later transformers must not be converted by the older layout."""
    config = {"model_type": model_type, **CONFIG, **dict.fromkeys(FLAGS, set_to)}
    assert asdict(like_llama(config)) == asdict(made(config))


@pytest.mark.slow
def test_a_process_with_torch_is_asked_where_it_was_kept_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stacked experts included; this process asks as that of the source stage does."""
    config = {"model_type": "qwen3_moe", **CONFIG, "num_experts": 4, "moe_intermediate_size": 48}
    expected = made(config)
    assert expected.experts
    monkeypatch.setitem(sys.modules, "torch", None)
    assert state_of(config) == expected
    with pytest.raises(SourceError, match="transformers cannot make a gemma2 of what the file"):
        state_of({"model_type": "gemma2", **CONFIG, "hidden_size": "wide"})


@pytest.mark.slow
def test_a_llama_is_converted_without_torch() -> None:
    """Importing it costs more than all the rest."""
    asked = (
        "import sys; sys.modules['torch'] = None\n"
        "from ovrecipe.builtin.gguf_state import state_of\n"
        f"state_of({{'model_type': 'llama', **{CONFIG}}})\n"
        "assert sys.modules['torch'] is None and 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", asked], check=True)
