"""The exporter `optimum` on twins of real architectures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.errors import StageError
from ovrecipe.hooks.listing import sample_recipe
from ovrecipe.hooks.roles import ExportJob
from tests.twins import ARCHITECTURES, make_checkpoint

# Tracing makes torch, transformers and optimum-intel warn about their own code.
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]


def exported(checkpoint_dir: Path, output_dir: Path) -> Path:
    output_dir.mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):
        job = ExportJob(
            checkpoint_dir=checkpoint_dir, output_dir=output_dir, recipe=sample_recipe()
        )
        OptimumExporter().export(job)
    return output_dir


def read(folder: Path) -> Any:
    import openvino as ov

    return ov.Core().read_model(folder / "openvino_model.xml")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_base_is_what_optimum_intel_exports(architecture: str, tmp_path: Path) -> None:
    """Only a base that is equal gives INT8 and INT4 weights that are equal to optimum-cli's."""
    from optimum.exporters.openvino import main_export
    from optimum.intel.openvino.configuration import OVConfig

    checkpoint_dir = make_checkpoint(tmp_path / "checkpoint", architecture)
    mine = exported(checkpoint_dir, tmp_path / "mine")
    main_export(
        str(checkpoint_dir),
        tmp_path / "theirs",
        task="text-generation-with-past",
        # Any quantization keeps the export in the native dtype; it is applied by nobody here.
        ov_config=OVConfig(quantization_config={"bits": 4}),
    )
    name = "openvino_model.bin"
    assert (mine / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


@pytest.mark.parametrize(("dtype", "stored"), [("float16", "f16"), ("bfloat16", "bf16")])
def test_weights_keep_the_checkpoints_dtype(dtype: str, stored: str, tmp_path: Path) -> None:
    """A cast before compression would change the integers that NNCF finds."""
    base = exported(make_checkpoint(tmp_path / "c", "llama", dtype=dtype), tmp_path / "base")
    kinds = {
        node.get_element_type().get_type_name()
        for node in read(base).get_ops()
        if node.get_type_name() == "Constant" and len(node.shape) == 2 and node.shape[0] > 32
    }
    assert kinds == {stored}


def test_an_f32_checkpoint_stays_f32(tmp_path: Path) -> None:
    """Its FP16 variant is a leaf of its own, the base keeps every bit."""
    base = exported(make_checkpoint(tmp_path / "c", "qwen2", dtype="float32"), tmp_path / "base")
    assert not [
        node
        for node in read(base).get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "f16"
    ]


def test_the_base_is_stateful_and_brings_only_its_configs(tmp_path: Path) -> None:
    """LLMPipeline needs the cache inside; tokenizers are another stage's business."""
    base = exported(make_checkpoint(tmp_path / "c", "llama"), tmp_path / "base")
    model = read(base)
    assert {port.get_any_name() for port in model.inputs} == {
        "input_ids",
        "attention_mask",
        "position_ids",
        "beam_idx",
    }
    assert len(model.get_sinks()) == 4
    assert model.get_rt_info(["runtime_options", "KV_CACHE_PRECISION"]).value == "f16"
    assert {path.name for path in base.iterdir()} == {
        "openvino_model.xml",
        "openvino_model.bin",
        "config.json",
        "generation_config.json",
    }


def config_of(tmp_path: Path, **config: Any) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_quantized_checkpoint_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    """Variants are compressed from floats; what was rounded already cannot be."""
    folder = config_of(tmp_path, model_type="llama", quantization_config={"quant_method": "gptq"})
    with pytest.raises(StageError, match=r"quantized already \(gptq\)"):
        exported(folder, tmp_path / "base")


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    """The user must learn that it is the architecture, not the download."""
    folder = config_of(tmp_path, model_type="martian")
    with pytest.raises(StageError, match="martian"):
        exported(folder, tmp_path / "base")


def test_what_is_exported_by_its_own_code_only_must_bring_it() -> None:
    """optimum-intel's patch fits DeepSeek's own file, and not the class of transformers."""
    config: dict[str, Any] = {"model_type": "deepseek_v3"}
    assert len(OptimumExporter().problems(config)) == 1
    auto = {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"}
    assert OptimumExporter().problems({**config, "auto_map": auto}) == []


def test_remote_code_is_not_run_unless_the_recipe_allows_it(tmp_path: Path) -> None:
    """The checkpoint's own Python file must not even be imported."""
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    folder = config_of(tmp_path, model_type="own", auto_map=auto)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    with pytest.raises(StageError, match="trust_remote_code: true"):
        exported(folder, tmp_path / "base")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_lacks_a_weight_is_refused_by_its_name(tmp_path: Path) -> None:
    """Transformers fills it at random with a warning, and would then be asked what is right."""
    from safetensors.torch import load_file, save_file

    checkpoint_dir = make_checkpoint(tmp_path / "checkpoint", "llama")
    [path] = checkpoint_dir.glob("*.safetensors")
    weights, lost = load_file(path), "model.layers.1.mlp.down_proj.weight"
    del weights[lost]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(StageError, match=f"lacks 1 weight of its architecture, .*: {lost}"):
        exported(checkpoint_dir, tmp_path / "base")


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    """A cut-off file is the most frequent damage."""
    folder = config_of(tmp_path)
    (folder / "config.json").write_text('{"model_type": "lla', encoding="utf-8")
    with pytest.raises(StageError, match=r"config\.json of the checkpoint: is not JSON"):
        exported(folder, tmp_path / "base")


def test_a_checkpoint_without_config_is_refused(tmp_path: Path) -> None:
    """What transformers says of it is about the hub."""
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(StageError, match=r"config\.json of the checkpoint: is missing or empty"):
        exported(tmp_path / "checkpoint", tmp_path / "base")


def test_weights_are_wide_for_whoever_reads_them_and_narrow_again_behind() -> None:
    """DBRX reads the weights of its experts, whose own code has not begun by then."""
    import torch
    from torch import nn

    from ovrecipe.builtin.exporter import _in_float32

    class Expert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16))

        def forward(self, states: Any, weight: Any) -> Any:
            assert self.weight.dtype is torch.float32
            return states @ weight

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expert = Expert()

        def forward(self, states: Any) -> Any:
            weight = self.expert.weight.view(2, 2)
            return self.expert(self.expert(states, weight), weight)

    experts = Experts()
    with _in_float32(experts):
        assert experts(torch.ones(1, 2)).tolist() == [[4.0, 4.0]]
        assert experts.expert.weight.dtype is torch.bfloat16
