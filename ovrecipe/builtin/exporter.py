"""The exporter `optimum`: a transformers checkpoint becomes a stateful base IR.

The IR keeps the checkpoint's own dtype: no FP16 cast, no INT8 for large models, for only weights
compressed from the native dtype equal those of optimum-cli byte for byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ovrecipe.builtin.architectures import encoder_problem, problem_of
from ovrecipe.builtin.exporter_mends import mended
from ovrecipe.builtin.ir import IR_XML, SMALL_FILES_BYTES, base_bytes
from ovrecipe.builtin.transformers_lines import TOOLCHAINS, choice_for, dtype_option
from ovrecipe.errors import StageError, foreign_errors
from ovrecipe.hooks.roles import (
    Answers,
    Estimate,
    ExportJob,
    Readings,
    ToolchainChoice,
    WeightShape,
)
from ovrecipe.json_files import read_object
from ovrecipe.recipe.schema import Model
from ovrecipe.recipe.tasks import EMBEDDING, GENERATION, RERANK, TaskName
from ovrecipe.version import package_version
from ovrecipe.wording import counted

#: The task that optimum-intel exports for, and the end of the names of classes that can do it.
TASKS: Mapping[TaskName, tuple[str, str]] = {
    GENERATION: ("text-generation-with-past", ""),
    EMBEDDING: ("feature-extraction", ""),
    RERANK: ("text-classification", "ForSequenceClassification"),
}
OWN_CODE = "read the checkpoint's own code; if you trust it, write 'model.trust_remote_code: true'"
#: Peak anonymous memory, measured with optimum-intel 2.2: 0.63 GB with SmolLM2-135M (f16), 0.59 GB
#: with a 1.01-billion Llama (bf16).
PEAK_BYTES = 800_000_000
#: Architectures whose code in transformers differs from their remote code in the cache layout:
#: the export only fits the former. Source: optimum-intel 2.2, exporters/openvino/__main__.py.
IN_LIBRARY_ONLY = ("falcon", "mpt", "phi", "phi3")
#: How many of the weights that a checkpoint lacks are named.
SHOWN = 4
#: What the checkpoint's weights were quantized with, for which no base IR in a float dtype exists.
#: gpt-oss (mxfp4) is not among them: transformers dequantizes it.
QUANTIZED_BY = ("gptq", "awq", "bitnet", "bitsandbytes", "fp8", "compressed-tensors")


class OptimumExporter:
    """Exports through the parts of optimum-intel that optimum-cli uses."""

    packages = ("optimum-intel", "optimum", "openvino", "transformers", "torch")
    version = 2
    tasks = tuple(TASKS)
    toolchains = TOOLCHAINS

    def toolchain(self, config: Mapping[str, Any]) -> ToolchainChoice:
        """Return the line of transformers that optimum-intel wants for the architecture."""
        return choice_for(str(config.get("model_type")), package_version("transformers"))

    def problems(self, config: Mapping[str, Any]) -> list[str]:
        """Refuse an architecture that optimum-intel does not know, or only in part."""
        if "model_type" not in config:
            return []
        kind, brings_code = str(config["model_type"]), bool(config.get("auto_map"))
        problem = problem_of(kind, brings_code=brings_code) or encoder_problem(config)
        return [problem] if problem else []

    def estimate(self, tensors: Sequence[WeightShape]) -> Estimate:
        """Return what an export takes: the checkpoint's weights stay mapped from its files."""
        return Estimate(base_bytes(tensors) + SMALL_FILES_BYTES, PEAK_BYTES)

    def export(self, job: ExportJob) -> None:
        """Write the IR, config.json and generation_config.json.

        Raises:
            StageError: why it cannot.
        """
        shown = "config.json of the checkpoint"
        config = read_object(job.checkpoint_dir / "config.json", shown=shown, error=StageError)
        if not config:
            raise StageError(f"{shown}: is missing or empty")
        method = (config.get("quantization_config") or {}).get("quant_method")
        if method in QUANTIZED_BY:
            message = f"the checkpoint's weights are quantized already ({method})"
            remedy = "name the original checkpoint in model.id; variants are compressed from it"
            raise StageError(message, remedy=remedy)
        task, head = TASKS[job.recipe.task]
        _check_head(config, head)
        job.progress("importing torch, transformers and optimum-intel")
        with foreign_errors("importing the exporter", remedy="pip install 'ovrecipe[build]'"):
            from optimum.exporters.openvino import convert, model_configs  # noqa: F401
        name = f"{config.get('model_type', 'unknown')} checkpoint"
        job.progress(f"loading the {name}")
        brings_code = config.get("auto_map") and not job.model.trust_remote_code
        with foreign_errors(f"loading the {name}", remedy=OWN_CODE if brings_code else None):
            torch_model = _loaded(job.checkpoint_dir, config, job.model, task)
        if job.answers is not None:
            job.progress(f"asking the {name} itself")
            with foreign_errors(f"running the {name}"):
                _answer(torch_model, job.answers)
        if job.readings is not None:
            job.progress(f"letting the {name} itself read")
            with foreign_errors(f"running the {name}"):
                _read(torch_model, job.readings)
        job.progress("tracing and converting")
        with foreign_errors(f"exporting the {name}"):
            _export(torch_model, job.output_dir, job.model, task)
        written = job.output_dir / IR_XML
        for path in (written, written.with_suffix(".bin")):
            if not path.exists() or path.stat().st_size == 0:
                raise StageError(f"optimum-intel ended without an error and without {path.name}")


def _check_head(config: Mapping[str, Any], head: str) -> None:
    """Refuse a checkpoint without the last layer that the task needs: transformers makes one up.

    Raises:
        StageError: with what the checkpoint is.
    """
    classes = [str(name) for name in config.get("architectures") or ()]
    if head and not any(name.endswith(head) for name in classes):
        found = ", ".join(classes) or "nothing that it names"
        raise StageError(
            f"the checkpoint has no layer that scores texts: it is {found}",
            remedy=f"name one whose 'architectures' end in {head}, or change 'task'",
        )


def _loaded(checkpoint_dir: Path, config: Mapping[str, Any], model: Model, task: str) -> Any:
    """Return the torch model in its own dtype, its weights still mapped from the files.

    Raises:
        StageError: the files lack weights.
    """
    from optimum.exporters.openvino.__main__ import FORCE_ATTN_MODEL_CLASSES
    from optimum.exporters.tasks import TasksManager

    kind = config.get("model_type")
    dtype = dtype_option(package_version("transformers"))
    options: dict[str, Any] = {dtype: "auto", "low_cpu_mem_usage": True}
    if kind in FORCE_ATTN_MODEL_CLASSES:
        options["_attn_implementation"] = FORCE_ATTN_MODEL_CLASSES[kind]
    with _missing_weights() as missing:
        torch_model = TasksManager.get_model_from_task(
            task,
            str(checkpoint_dir),
            framework="pt",
            library_name="transformers",
            local_files_only=True,
            trust_remote_code=model.trust_remote_code and kind not in IN_LIBRARY_ONLY,
            use_safetensors=None if model.allow_pickle else True,
            **options,
        )
    # A pooler stands behind the states that embeddings are made of, and is not exported.
    is_embedder = task == TASKS[EMBEDDING][0]
    lacking = sorted(name for name in missing if not (is_embedder and "pooler" in name))
    if lacking:
        raise StageError(
            f"the checkpoint lacks {counted(len(lacking), 'weight')} of its architecture, which "
            f"transformers would fill at random: {', '.join(lacking[:SHOWN])}"
            f"{', ...' if len(lacking) > SHOWN else ''}",
            remedy="fetch it again, or name one that is whole",
        )
    return torch_model


@contextmanager
def _missing_weights() -> Iterator[set[str]]:
    """Collect the weights that a checkpoint lacks, of which transformers only warns."""
    from transformers import PreTrainedModel

    original = PreTrainedModel.__dict__["from_pretrained"]
    found: set[str] = set()

    def from_pretrained(cls: Any, *words: Any, **options: Any) -> Any:
        told = {**options, "output_loading_info": True}
        torch_model, told_of = original.__func__(cls, *words, **told)
        found.update(told_of["missing_keys"])
        return torch_model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield found
    finally:
        PreTrainedModel.from_pretrained = original


def _answer(torch_model: Any, answers: Answers) -> None:
    """Let the checkpoint's own code read the prompts, go on greedily, and say how likely all was.

    In float32, in which the IR is compared with it, whatever the checkpoint's dtype.
    """
    import torch

    with torch.inference_mode(), _in_float32(torch_model):
        tokens = torch.tensor(answers.prompts)
        places = tokens.shape[1] + answers.new_tokens - 1
        found = torch_model(tokens, use_cache=True)
        logits = found.logits.float()
        while logits.shape[1] < places:
            new = logits[:, -1:].argmax(-1)
            tokens = torch.cat([tokens, new], dim=1)
            past = getattr(found, "past_key_values", None)
            if past is None or _remembers_otherwise(torch_model):
                found = torch_model(tokens, use_cache=False)
                logits = found.logits.float()
            else:
                found = torch_model(new, past_key_values=past, use_cache=True)
                logits = torch.cat([logits, found.logits.float()], dim=1)
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    for row, said in zip(tokens, logits, strict=True):
        answers.take(row.numpy(), said.numpy())


def _remembers_otherwise(torch_model: Any) -> bool:
    """Return whether layers keep something else than keys and values: a state, or a convolution.

    Called with a cache as attention is, such models answer wrongly without a word
    (GraniteMoeHybrid, transformers 5.5), so all of a text is read again.
    """
    config = torch_model.config
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ()
    attends = all("attention" in kind and "linear" not in kind for kind in kinds)
    return not attends or bool(getattr(torch_model, "_is_stateful", False))


def _read(torch_model: Any, readings: Readings) -> None:
    """Let the checkpoint's own code read each text by itself, in float32 as in `_answer`."""
    import torch

    with torch.inference_mode(), _in_float32(torch_model):
        for inputs in readings.inputs:
            found = torch_model(**{name: torch.tensor([row]) for name, row in inputs.items()})
            # The first output of every class: states of its tokens, or logits of its labels.
            readings.take(found[0][0].float().numpy())


@contextmanager
def _in_float32(torch_model: Any) -> Iterator[None]:
    """Let each module see its 16-bit weights in float32 while it runs, and only then.

    A copy of the whole model would take twice its size in memory.
    """
    import torch

    narrow = (torch.float16, torch.bfloat16)
    native: dict[Any, list[tuple[Any, Any]]] = {}

    def widen(module: Any, *_: Any) -> None:
        weights = [weight for weight in _read_by(module) if weight.dtype in narrow]
        native[module] = [(weight, weight.data) for weight in weights]
        for weight in weights:
            weight.data = weight.data.float()

    def restore(module: Any, *_: Any) -> None:
        for weight, data in native.pop(module, ()):
            weight.data = data

    with ExitStack() as hooks:
        for module in torch_model.modules():
            if next(_read_by(module), None) is not None:
                hooks.callback(module.register_forward_pre_hook(widen).remove)
                hooks.callback(module.register_forward_hook(restore, always_call=True).remove)
        yield


def _read_by(module: Any) -> Iterator[Any]:
    """Yield the weights that the code of a module may read: its own, and those of its parts.

    Parts of torch itself are called, and have their own turn; DBRX takes those of its experts.
    """
    yield from module.parameters(recurse=False)
    for part in module.children():
        if not type(part).__module__.startswith("torch."):
            yield from part.parameters(recurse=False)


def _export(torch_model: Any, output_dir: Path, model: Model, task: str) -> None:
    import torch
    from optimum.exporters.openvino import utils
    from optimum.exporters.openvino.convert import export_from_model

    model_type = torch_model.config.model_type
    # The second trace compares itself with the first and changes nothing in it. It takes a third
    # of the export's time; a model that was traced wrongly does not pass the build's check.
    known = getattr(utils, "SKIP_CHECK_TRACE_MODELS", None)
    if isinstance(known, tuple) and model_type not in known:
        utils.SKIP_CHECK_TRACE_MODELS = (*known, model_type)
    with mended(model_type):
        export_from_model(
            torch_model,
            output_dir,
            task=task,
            stateful=task.endswith("-with-past"),
            # An empty list: with None optimum-intel looks for a tokenizer, and makes one up.
            preprocessors=[],
            trust_remote_code=model.trust_remote_code,
            patch_16bit_model=torch_model.dtype in (torch.float16, torch.bfloat16),
        )
