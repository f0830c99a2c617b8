"""The commands and the Python that use an export, by its task; the folder is called `out`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TASKS, TaskName
from ovrecipe.run.artifact import STEPS

if TYPE_CHECKING:
    from ovrecipe.builtin.vector_settings import VectorSettings
    from ovrecipe.run.exported import Export

ASKED = "What is the capital of France?"
TEXTS = ("Paris is the capital of France.", "Berlin lies on the Spree.")


@dataclass(frozen=True)
class Use:
    """How a task's models are found on hubs and used; `settings` are those of vectors."""

    #: The hub's word for the task.
    tag: str
    commands: str
    genai: Callable[[Export, VectorSettings | None], Iterator[str]]
    optimum: Callable[[Export, VectorSettings | None], Iterator[str]]


def task_of(export: Export) -> TaskName:
    """Return what the model does."""
    return cast("TaskName", export.recipe.get("task", GENERATION))


def always_on(export: Export) -> str | None:
    """Return the name of the adapter that the model answers with unless told otherwise."""
    adapters = export.assistants.get("adapters")
    found = adapters.items() if isinstance(adapters, dict) else ()
    return next((name for name, one in found if isinstance(one, dict) and one["always"]), None)


def ovms_objection(export: Export) -> str | None:
    """Return why OpenVINO Model Server is given no graph; None where it is."""
    if (task := task_of(export)) != GENERATION:
        return f"{export.target} {TASKS[task].does}, and the graph is for models that write text"
    if export.attention_backend == STEPS:
        return f"a server would run {export.target} with GenAI, whose answers are not its source's"
    if name := always_on(export):
        return (
            f"a server would answer without the adapter '{name}', which {export.target} always has"
        )
    return None


def uses(export: Export, settings: VectorSettings | None) -> Iterator[str]:
    """Yield the lines of a page on how to use it."""
    use, adapter = USES[task_of(export)], always_on(export)
    yield "## Use it"
    yield "ovrecipe (`pip install ovrecipe`; no project, no torch):"
    yield f"```\n{use.commands}\n```"
    if export.attention_backend == STEPS:
        yield (
            "OpenVINO GenAI does not answer as this model's source does, so ovrecipe runs it "
            "without: it reads and writes one token after the other."
        )
        return
    yield "OpenVINO GenAI (`pip install openvino-genai`):"
    if export.attention_backend == "SDPA":
        yield "With SDPA, for paged attention does not answer as this model's source does."
    yield "\n".join(["```python", *use.genai(export, settings), "```"])
    without = f", which answers without the adapter `{adapter}`" if adapter else ""
    yield f"optimum-intel (`pip install 'optimum-intel[openvino]'`){without}:"
    yield "\n".join(["```python", *use.optimum(export, settings), "```"])


def _writing(export: Export, _: VectorSettings | None) -> Iterator[str]:
    more = ', ATTENTION_BACKEND="SDPA"' if export.attention_backend == "SDPA" else ""
    yield "import openvino_genai"
    if name := always_on(export):
        one = cast("dict[str, dict[str, object]]", export.assistants["adapters"])[name]
        yield f'adapter = openvino_genai.Adapter("out/{one["file"]}")'
        yield f"adapters = openvino_genai.AdapterConfig(adapter, {one['alpha']})"
        more += ", adapters=adapters"
    yield f'pipeline = openvino_genai.LLMPipeline("out", "CPU"{more})'
    yield f'print(pipeline.generate("{ASKED}", max_new_tokens=40, do_sample=False))'


def _writing_optimum(*_: object) -> Iterator[str]:
    yield "from optimum.intel import OVModelForCausalLM"
    yield "from transformers import AutoTokenizer"
    yield 'model = OVModelForCausalLM.from_pretrained("out")'
    yield 'tokenizer = AutoTokenizer.from_pretrained("out")'
    yield f'messages = [{{"role": "user", "content": "{ASKED}"}}]'
    yield "asked = tokenizer.apply_chat_template("
    yield '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True'
    yield ")"
    yield "answer = model.generate(**asked, max_new_tokens=40, do_sample=False)"
    yield "print(tokenizer.decode(answer[0], skip_special_tokens=True))"


def _texts(settings: VectorSettings) -> Iterator[str]:
    """Yield a query and documents, each asked as in training."""
    yield f"query = {_quoted(settings.query_instruction + ASKED)}"
    documents = (_quoted(settings.document_instruction + text) for text in TEXTS)
    yield f"texts = [{', '.join(documents)}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _embedding(_: Export, settings: VectorSettings | None) -> Iterator[str]:
    assert settings is not None, "the stage assemble of the task writes them"
    yield "import openvino_genai"
    yield "kind = openvino_genai.TextEmbeddingPipeline"
    yield "config = kind.Config()"
    yield f"config.pooling_type = kind.PoolingType.{str(settings.pooling).upper()}"
    yield f"config.normalize = {settings.normalize}"
    yield f'config.max_length, config.padding_side = {settings.max_length}, "right"'
    yield 'pipeline = kind("out", "CPU", config)'
    yield from _texts(settings)
    yield "vector, vectors = pipeline.embed_query(query), pipeline.embed_documents(texts)"
    yield "print([sum(a * b for a, b in zip(vector, other)) for other in vectors])"


#: One vector of the states of a text's tokens, which padding follows.
POOLED = {
    "cls": "states[:, 0]",
    "mean": "(states * mask[..., None]).sum(1) / mask.sum(1)[:, None]",
    "last_token": "states[range(len(states)), mask.sum(1) - 1]",
}


def _embedding_optimum(_: Export, settings: VectorSettings | None) -> Iterator[str]:
    assert settings is not None, "the stage assemble of the task writes them"
    yield "import torch"
    yield "from optimum.intel import OVModelForFeatureExtraction"
    yield "from transformers import AutoTokenizer"
    yield 'model = OVModelForFeatureExtraction.from_pretrained("out")'
    yield 'tokenizer = AutoTokenizer.from_pretrained("out", padding_side="right")'
    yield from _texts(settings)
    cut = f"padding=True, truncation=True, max_length={settings.max_length}"
    yield f'asked = tokenizer([query, *texts], {cut}, return_tensors="pt")'
    yield 'states, mask = model(**asked).last_hidden_state, asked["attention_mask"]'
    yield f"vectors = {POOLED[str(settings.pooling)]}"
    if settings.normalize:
        yield "vectors = torch.nn.functional.normalize(vectors, dim=-1)"
    yield "print((vectors[1:] @ vectors[0]).tolist())"


def _rerank(_: Export, settings: VectorSettings | None) -> Iterator[str]:
    assert settings is not None, "the stage assemble of the task writes them"
    yield "import openvino_genai"
    yield from _texts(settings)
    yield "config = openvino_genai.TextRerankPipeline.Config()"
    yield "config.top_n = len(texts)"
    yield f'config.max_length, config.padding_side = {settings.max_length}, "right"'
    yield 'pipeline = openvino_genai.TextRerankPipeline("out", "CPU", config)'
    yield "scores = dict(pipeline.rerank(query, texts))"
    yield "print([scores[number] for number in range(len(texts))])"


def _rerank_optimum(_: Export, settings: VectorSettings | None) -> Iterator[str]:
    assert settings is not None, "the stage assemble of the task writes them"
    yield "from optimum.intel import OVModelForSequenceClassification"
    yield "from transformers import AutoTokenizer"
    yield 'model = OVModelForSequenceClassification.from_pretrained("out")'
    yield 'tokenizer = AutoTokenizer.from_pretrained("out", padding_side="right")'
    yield from _texts(settings)
    cut = f"padding=True, truncation=True, max_length={settings.max_length}"
    yield f'asked = tokenizer([query] * len(texts), texts, {cut}, return_tensors="pt")'
    yield "print(model(**asked).logits[:, 0].sigmoid().tolist())"


USES: Mapping[TaskName, Use] = {
    GENERATION: Use(
        tag="text-generation",
        commands=f'ovrecipe run ./out "{ASKED}"\novrecipe chat ./out',
        genai=_writing,
        optimum=_writing_optimum,
    ),
    EMBEDDING: Use(
        tag="feature-extraction",
        commands=f'echo "{TEXTS[0]}" | ovrecipe embed ./out\n'
        f'echo "{ASKED}" | ovrecipe embed ./out --query',
        genai=_embedding,
        optimum=_embedding_optimum,
    ),
    RERANK: Use(
        tag="text-ranking",
        commands=f'echo "{TEXTS[0]}" | ovrecipe rerank ./out "{ASKED}"',
        genai=_rerank,
        optimum=_rerank_optimum,
    ),
}
