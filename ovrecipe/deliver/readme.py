"""The README of an export: what it is, how good it is, and the commands that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ovrecipe.deliver.ovms import CONFIG, GRAPH, IMAGE, PORT, image_tag, served_as
from ovrecipe.recipe.schema import split_model_id
from ovrecipe.run.exported import EXPORT, Export
from ovrecipe.wording import SHORT, amount, nats

README = "README.md"
ASKED = "What is the capital of France?"


def readme(export: Export, *, ovms: bool) -> str:
    """Return the text; the front matter is what model hubs read."""
    return "\n".join([*_front(export), *_what(export), *_uses(export), *_ovms(export, ovms=ovms)])


def _front(export: Export) -> Iterator[str]:
    scheme, location = split_model_id(_model_id(export))
    yield "---"
    yield "library_name: openvino"
    yield "pipeline_tag: text-generation"
    if scheme == "hub":
        yield f"base_model: {location}"
    yield "tags: [openvino, ovrecipe]"
    yield "---"


def _model_id(export: Export) -> str:
    model = export.recipe.get("model")
    return str(model.get("id")) if isinstance(model, dict) else export.name


def _what(export: Export) -> Iterator[str]:
    size_bytes = sum(file.size_bytes for file in export.files.values())
    commit = str(export.source.get("commit") or "")
    at = f" at commit {commit[:SHORT]}" if commit else ""
    yield f"# {export.target}"
    yield (
        f"`{_model_id(export)}`{at} for OpenVINO, {amount(size_bytes)}, built and checked by"
        f" {export.made_by}. `{EXPORT}` has the recipe, the digest of every file, the versions of"
        " what made them and what each gate found."
    )
    yield ""
    if figures := list(_figures(export.gates)):
        yield "Against its source:"
        yield ""
        yield from (f"- {figure}" for figure in figures)
        yield ""


def _figures(gates: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what the gates measured; what a gate did not measure is not said."""
    for facts in gates.values():
        quality = facts.get("quality")
        if not isinstance(quality, Mapping):
            continue
        if (mean_kl := quality.get("mean_kl")) is not None:
            yield f"divergence {nats(float(mean_kl))} nats a token"
        if (same_top := quality.get("same_top")) is not None:
            yield f"the same likeliest token at {float(same_top):.1%} of the places"


def _uses(export: Export) -> Iterator[str]:
    """Yield the commands; the folder is called `out` here."""
    sdpa = export.attention_backend == "SDPA"
    more = ', ATTENTION_BACKEND="SDPA"' if sdpa else ""
    yield "## Use it"
    yield "ovrecipe (`pip install ovrecipe`; no project, no torch):"
    yield f'```\novrecipe run ./out "{ASKED}"\novrecipe chat ./out\n```'
    yield "OpenVINO GenAI (`pip install openvino-genai`):"
    if sdpa:
        yield "With SDPA, for paged attention does not answer as this model's source does."
    yield "```python\nimport openvino_genai"
    yield f'pipeline = openvino_genai.LLMPipeline("out", "CPU"{more})'
    yield f'print(pipeline.generate("{ASKED}", max_new_tokens=40, do_sample=False))\n```'
    yield "optimum-intel (`pip install 'optimum-intel[openvino]'`):"
    yield "```python\nfrom optimum.intel import OVModelForCausalLM"
    yield "from transformers import AutoTokenizer"
    yield 'model = OVModelForCausalLM.from_pretrained("out")'
    yield 'tokenizer = AutoTokenizer.from_pretrained("out")'
    yield f'messages = [{{"role": "user", "content": "{ASKED}"}}]'
    yield "asked = tokenizer.apply_chat_template("
    yield '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True'
    yield ")"
    yield "answer = model.generate(**asked, max_new_tokens=40, do_sample=False)"
    yield "print(tokenizer.decode(answer[0], skip_special_tokens=True))\n```"


def _ovms(export: Export, *, ovms: bool) -> Iterator[str]:
    name, image = served_as(export), f"{IMAGE}:{image_tag(export)}"
    yield "OpenVINO Model Server (not run by ovrecipe):"
    if ovms:
        yield f"```\ndocker compose up\n```\nreads `{GRAPH}` and `{CONFIG}`. Without docker:"
        yield f"```\novms --model_path ./out --model_name {name} --rest_port {PORT}\n```"
    else:
        yield "```"
        yield f"docker run --rm -v ./out:/model:ro -p 127.0.0.1:{PORT}:{PORT} {image} \\"
        yield f"  --model_path /model --model_name {name} --rest_port {PORT} --task text_generation"
        yield "```"
        yield "`ovrecipe export --ovms` writes the files that a server reads beside the model."
    yield ""
