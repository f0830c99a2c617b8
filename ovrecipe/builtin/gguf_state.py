"""Which tensors transformers' class of a configuration has, without their values.

Importing torch and the classes takes 10 s of processor time, so the stage that converts a file
keeps torch out of its process (`needs_torch`). Classes laid out as Llama's are written down here,
and compared with transformers' own by the tests; for any other one a process with torch is asked.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ovrecipe.errors import SourceError


@dataclass(frozen=True)
class State:
    """The tensors of a class by name, and the `tied` ones, which repeat others.

    `experts` says how it stacks them: the end of a stacked name, and what it is made of. A
    checkpoint has each expert by itself, with its number for the asterisk; gate precedes up.
    """

    shapes: dict[str, tuple[int, ...]]
    tied: list[str]
    experts: dict[str, list[str]] = field(default_factory=dict)


def state_of(config: Mapping[str, Any]) -> State:
    """Return the tensors of the class that a `config.json` names.

    Raises:
        SourceError: transformers cannot make it.
    """
    if config["model_type"] in LIKE_LLAMA:
        return like_llama(config)
    # Kept out, it stays out: transformers remembers that it was not there.
    return _asked(config) if sys.modules.get("torch", sys) is None else made(config)


#: Model types laid out as Llama's: the settings by which the projections of the attention and of
#: the feed-forward have biases.
LIKE_LLAMA: Mapping[str, tuple[str, str]] = {
    "llama": ("attention_bias", "mlp_bias"),
    "mistral": ("", ""),
    "qwen2": ("", ""),
    "qwen3": ("attention_bias", ""),
}


def like_llama(config: Mapping[str, Any]) -> State:
    """Return the tensors of one of `LIKE_LLAMA`, without torch."""
    made = _config(config)
    kind, size, inner = config["model_type"], made.hidden_size, made.intermediate_size
    attention_biases, mlp_biases = (getattr(made, name, False) for name in LIKE_LLAMA[kind])
    heads, kv_heads = made.num_attention_heads, made.num_key_value_heads
    width = getattr(made, "head_dim", None) or size // heads
    biased = [*("qkvo" if attention_biases else "qkv" if kind == "qwen2" else "")]
    layer: dict[str, tuple[int, ...]] = {}
    for letter, count in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("o", heads)):
        name, rows = f"self_attn.{letter}_proj", count * width
        layer[f"{name}.weight"] = (size, rows) if letter == "o" else (rows, size)
        if letter in biased:
            layer[f"{name}.bias"] = (size if letter == "o" else rows,)
    for part, rows in (("gate", inner), ("up", inner), ("down", size)):
        layer[f"mlp.{part}_proj.weight"] = (rows, inner + size - rows)
        if mlp_biases:
            layer[f"mlp.{part}_proj.bias"] = (rows,)
    for norm in ("input", "post_attention"):
        layer[f"{norm}_layernorm.weight"] = (size,)
    if kind == "qwen3":
        layer |= {f"self_attn.{letter}_norm.weight": (width,) for letter in "qk"}
    embeddings, head = "model.embed_tokens.weight", "lm_head.weight"
    shapes = {embeddings: (made.vocab_size, size), "model.norm.weight": (size,)}
    for number in range(made.num_hidden_layers):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    shapes[head] = shapes[embeddings]
    return State(shapes, tied=[head] if made.tie_word_embeddings else [])


def made(config: Mapping[str, Any]) -> State:
    """Return the tensors of any class, which torch makes without values."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(_config(config))
    state = model.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(list(state.items()))}
    experts = {}
    for conversion in get_checkpoint_conversion_mapping(config["model_type"]) or ():
        for target in conversion.target_patterns:
            if target.endswith(("experts.gate_up_proj", "experts.down_proj")):
                experts[target] = list(conversion.source_patterns)
    return State(
        shapes={name: tuple(tensor.shape) for name, tensor in state.items()},
        tied=[name for name, tensor in state.items() if first[id(tensor)] != name],
        experts=experts,
    )


def _config(config: Mapping[str, Any]) -> Any:
    from transformers.models.auto.configuration_auto import AutoConfig

    settings = {name: value for name, value in config.items() if name != "model_type"}
    return AutoConfig.for_model(config["model_type"], **settings)


def _asked(config: Mapping[str, Any]) -> State:
    """Return what a process with torch says."""
    command = [sys.executable, "-m", __spec__.name]
    asked = json.dumps(config).encode()
    # What it complains of goes where this process's own complaints go.
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SourceError(
            f"transformers cannot make a {config['model_type']} of what the file says",
            remedy="the stage's log says why; give the model's hub id instead",
        )
    found = json.loads(done.stdout.splitlines()[-1])
    shapes = {name: tuple(shape) for name, shape in found.pop("shapes").items()}
    return State(shapes, **found)


if __name__ == "__main__":
    print(json.dumps(asdict(made(json.load(sys.stdin)))))
