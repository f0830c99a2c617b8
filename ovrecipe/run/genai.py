"""OpenVINO GenAI behind the runner's protocol; `batching` is its other pipeline."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from ovrecipe.errors import DeviceUnknown, PromptRefused, RunError
from ovrecipe.json_files import GENERATION_CONFIG
from ovrecipe.libraries import prepare_libraries
from ovrecipe.recipe.forms import FORMS
from ovrecipe.run.assistants import NONE, Assistants, Assisting
from ovrecipe.run.parameters import apply, form_of
from ovrecipe.run.pipeline import Ended, OnText, Tokens
from ovrecipe.run.structured import FormCheck, form_refused, is_of_a_form
from ovrecipe.types import FinishReason, Metrics
from ovrecipe.wording import last_line

#: Devices that are made of others: `AUTO`, `AUTO:GPU,CPU`, `HETERO:GPU,CPU`.
VIRTUAL = ("AUTO", "HETERO", "MULTI", "BATCH")


@dataclass(frozen=True)
class Device:
    """One device: its name for `--device`, the maker's name and what it can do."""

    name: str
    full_name: str
    capabilities: tuple[str, ...]


def list_devices() -> list[Device]:
    """Return the devices of this machine; asks OpenVINO, so it takes a moment."""
    prepare_libraries(sys.modules, os.environ)
    from openvino import Core

    core = Core()
    return [
        Device(
            name=name,
            full_name=str(core.get_property(name, "FULL_DEVICE_NAME")),
            capabilities=tuple(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
        )
        for name in core.available_devices
    ]


def check_device(device: str, available: Sequence[str]) -> None:
    """Refuse a device that is not on this machine, alone or in the list of a virtual one.

    Raises:
        DeviceUnknown: with the names of those that are.
    """
    kind, colon, rest = device.partition(":")
    names = [device]
    if kind in VIRTUAL:
        # AUTO:-GPU leaves a device out; BATCH:CPU(4) carries a size.
        parts = rest.split(",") if colon else []
        names = [part.strip().lstrip("-").partition("(")[0] for part in parts]
    for name in names:
        # A device is GPU and GPU.0, GPU.1 where there are several; both spellings are understood.
        if not any(name in {one, one.split(".")[0], f"{one}.0"} for one in available):
            raise DeviceUnknown(
                f"device '{device}': OpenVINO sees no '{name}' here, only {', '.join(available)}",
                remedy="'ovrecipe devices' lists them; a missing GPU or NPU mostly lacks a driver",
            )


#: GenAI falls back from paged attention to SDPA within its constructor when it chooses itself;
#: asked for by name, it fails instead, and the fall-back is ours to announce.
ATTENTION_BACKEND = "ATTENTION_BACKEND"


def open_pipeline(
    model_dir: Path,
    device: str,
    *,
    properties: Mapping[str, Any],
    announce: Callable[[str], None],
    assistants: Assistants = NONE,
) -> GenaiPipeline:
    """Load a model; `announce` is told when it runs another way than it should.

    Raises:
        DeviceUnknown: the device is not on this machine.
        RunError: OpenVINO cannot load the model there.
    """
    prepare_libraries(sys.modules, os.environ, properties)
    from openvino import Core

    check_device(device, Core().available_devices)
    assisting = Assisting(assistants)
    drafts = {name: value for name, value in properties.items() if name != ATTENTION_BACKEND}
    beside = assisting.properties(device, drafts)

    def construct(more: Mapping[str, Any]) -> GenaiPipeline:
        from openvino_genai import LLMPipeline

        try:
            pipeline = LLMPipeline(model_dir, device, **{**properties, **more, **beside})
        except (RuntimeError, TypeError) as exc:
            raise cannot_be_loaded(device, exc) from exc
        return GenaiPipeline(pipeline, device, assisting)

    if "NPU" in device or ATTENTION_BACKEND in properties:
        # The NPU has a pipeline of its own, without paged attention.
        return construct({})
    if assistants.write_ahead:
        # GenAI does it with paged attention only, and says something else of SDPA.
        return construct({ATTENTION_BACKEND: "PA"})
    return with_fallback(construct, announce=lambda why: announce(f"on {device}: {why}"))


def cannot_be_loaded(device: str, error: Exception) -> RunError:
    """Return the error for a model that OpenVINO does not open."""
    return RunError(
        f"the model cannot be loaded on {device}: {last_line(error)}",
        remedy="'ovrecipe verify' checks the artifact's files, 'ovrecipe devices' the device; "
        "properties must be OpenVINO's",
    )


def own_config(model_dir: Path) -> Any:
    """Return the generation config that a model carries."""
    from openvino_genai import GenerationConfig

    path = model_dir / GENERATION_CONFIG
    return GenerationConfig(path) if path.is_file() else GenerationConfig()


def check_parameters(parameters: Mapping[str, Any], model_dir: Path) -> None:
    """Let GenAI judge parameters before a model is loaded.

    Raises:
        GenerationParameterRefused: by the parameter's name.
    """
    prepare_libraries(sys.modules, os.environ)
    parameters = {name: value for name, value in parameters.items() if name != "adapter"}
    apply(parameters, own_config(model_dir))
    if form := form_of(parameters, {}):
        FormCheck(model_dir).check(form)


def with_fallback(
    construct: Callable[[Mapping[str, Any]], GenaiPipeline], *, announce: Callable[[str], None]
) -> GenaiPipeline:
    """Construct with paged attention, or with SDPA and say so.

    Raises:
        RunError: both failed; it is the second one's, for what stops both is not the attention.
    """
    try:
        return construct({ATTENTION_BACKEND: "PA"})
    except RunError as exc:
        loaded = construct({ATTENTION_BACKEND: "SDPA"})
        announce(f"no paged attention, SDPA is used instead: {last_line(exc.__cause__ or exc)}")
        return loaded


def name_of_form(config: Any) -> str:
    """Return the parameter by which a config holds the answer to a form."""
    form = config.structured_output_config
    return next(name for name in FORMS if getattr(form, name) is not None)


def metrics_of(perf: Any) -> tuple[Metrics, int]:
    """Return GenAI's figures of one answer, and how many tokens it has."""
    generated = int(perf.get_num_generated_tokens())
    metrics = Metrics(
        ttft_ms=float(perf.get_ttft().mean),
        tpot_ms=float(perf.get_tpot().mean) if generated > 1 else None,
        throughput=float(perf.get_throughput().mean) if generated > 1 else None,
        load_time_ms=float(perf.get_load_time()),
    )
    return metrics, generated


class KnownTokens:
    """The tokens that a tokenizer has; GenAI itself takes any number for one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @cached_property
    def count(self) -> int:
        """How many there are, those included that are only numbers."""
        return int(max(self._tokenizer.get_vocab().values())) + 1

    def check(self, ids: Sequence[int], what: str) -> None:
        """Refuse a number that is no token; `what` has it.

        Raises:
            PromptRefused: with the first.
        """
        wrong = next((number for number in ids if not 0 <= number < self.count), None)
        if wrong is not None:
            raise PromptRefused(f"{what} has token {wrong}, and the model has {self.count}")


class GenaiModel:
    """What all pipelines have in common: GenAI's tokenizer and generation config."""

    def __init__(
        self, pipeline: Any, tokenizer: Any, device: str, own_config: Callable[[], Any]
    ) -> None:
        self.device = device
        #: The pipeline itself, for what only it can do.
        self.llm: Any = pipeline
        self._own_config: Any = own_config
        self._tokenizer: Any = tokenizer
        self._known: Any = KnownTokens(self._tokenizer)
        bos = int(self._tokenizer.get_bos_token_id())
        self.bos_token_id: int | None = bos if bos >= 0 else None

    def encode(self, text: str, *, add_special_tokens: bool, cuts: Sequence[int] = ()) -> Tokens:
        """Return the tokens of a rendered prompt; none of them spans one of the `cuts`.

        Raises:
            PromptRefused: it cannot be tokenized.
        """
        try:
            inputs = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
            if cuts:
                inputs = _encoded_in_pieces(self._tokenizer, text, cuts, inputs)
        except (TypeError, RuntimeError) as exc:
            raise PromptRefused(f"the prompt cannot be tokenized: {last_line(exc)}") from exc
        ids = inputs.input_ids.data[0]
        return Tokens(count=len(ids), ids=inputs, first=tuple(int(token) for token in ids[:2]))

    def tokens_of(self, ids: Sequence[int]) -> Tokens:
        """Return a prompt of these tokens; GenAI itself takes any number for one.

        Raises:
            PromptRefused: the model has no such token.
        """
        from numpy import array, ones_like
        from openvino import Tensor
        from openvino_genai import TokenizedInputs

        self._known.check(ids, "the prompt")
        row = array([list(ids)], dtype="int64")
        inputs = TokenizedInputs(Tensor(row), Tensor(ones_like(row)))
        return Tokens(len(ids), inputs, tuple(ids[:2]))

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return the artifact's own generation config with `parameters` on top."""
        return apply(parameters, self._own_config())

    def decode(self, rows: Sequence[Sequence[int]], *, special: bool = False) -> list[str]:
        """Return the text of each row of tokens; control tokens only where `special`.

        Rows of one length go together: GenAI would fill the others up with a token that some
        tokenizers show.
        """
        texts = [""] * len(rows)
        by_length: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            by_length.setdefault(len(row), []).append(at)
        for length, places in by_length.items():
            if length:
                found = self._tokenizer.decode(
                    [rows[at] for at in places], skip_special_tokens=not special
                )
                for at, text in zip(places, found, strict=True):
                    texts[at] = text
        return texts

    def max_new_tokens(self, config: Any, prompt_tokens: int) -> int:
        """Return the limit; GenAI's `max_length` counts the prompt and is the weaker one."""
        return int(min(config.max_new_tokens, max(config.max_length - prompt_tokens, 0)))

    def close(self) -> None:
        """Let go of the model's memory."""
        self.llm = self._tokenizer = self._known = self._own_config = None


class GenaiPipeline(GenaiModel):
    """An `LLMPipeline` and its tokenizer."""

    def __init__(self, pipeline: Any, device: str, assisting: Assisting) -> None:
        config = pipeline.get_generation_config
        super().__init__(pipeline, pipeline.get_tokenizer(), device, config)
        self._assisting = assisting

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return the artifact's own generation config with `parameters` on top.

        `adapter` among them names a LoRA adapter; "" answers without one.
        """
        given = {name: value for name, value in parameters.items() if name != "adapter"}
        return self._assisting.prepare(super().configure(given), parameters.get("adapter"))

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Ended:
        """Generate; `on_text` must not raise, for GenAI would print and swallow it.

        Raises:
            RunError: GenAI failed.
        """
        from openvino_genai import GenerationFinishReason, StreamingStatus

        stopped = False

        def streamer(text: str) -> Any:
            nonlocal stopped
            stopped = not on_text(text)
            return StreamingStatus.CANCEL if stopped else StreamingStatus.RUNNING

        try:
            if config.is_beam_search():
                # Beams cannot be streamed: the text comes as one piece.
                encoded = self.llm.generate(tokens.ids, config)
                on_text(self._tokenizer.decode(encoded.tokens[0]))
            else:
                encoded = self.llm.generate(tokens.ids, config, streamer)
        except RuntimeError as exc:
            if is_of_a_form(exc):
                raise form_refused(name_of_form(config), exc) from exc
            raise RunError(f"generation failed on {self.device}: {last_line(exc)}") from exc
        cut = encoded.finish_reasons[0] == GenerationFinishReason.LENGTH
        metrics, generated = metrics_of(encoded.perf_metrics)
        ended: FinishReason = "cancelled" if stopped else "length" if cut else "stop"
        eos = int(self._tokenizer.get_eos_token_id())  # a config may leave it to the tokenizer
        ending = {*config.stop_token_ids, config.eos_token_id, eos}
        by_the_model = ended == "stop" and ending >= {*encoded.tokens[0][-1:]}
        return Ended(ended, generated, metrics, by_the_model=by_the_model)


#: Texts that a piece of a prompt is read behind; one that does not grow together with it is taken.
ANCHORS = ("\n", " ", "a", "0", ".")


def _encoded_in_pieces(tokenizer: Any, text: str, cuts: Sequence[int], whole: Any) -> Any:
    """Return inputs in which no token spans a cut; `whole` is what the tokenizer makes of `text`.

    Tokenizers of SentencePiece's kind put a space in front of every text, so each piece is read
    behind an anchor, whose tokens are then taken off. What comes out must say what `whole` says.
    """
    from numpy import array, ones_like
    from openvino import Tensor
    from openvino_genai import TokenizedInputs

    def ids_of(piece: str) -> list[int]:
        inputs = tokenizer.encode(piece, add_special_tokens=False)
        return [int(token) for token in inputs.input_ids.data[0]]

    def said(ids: Sequence[int]) -> str:
        # Some tokenizers write a space beside a control token that they do not write beside text.
        return "".join(tokenizer.decode(ids, skip_special_tokens=False).split())

    added, plain = [int(token) for token in whole.input_ids.data[0]], ids_of(text)
    starts = range(len(added) - len(plain) + 1)
    found = [start for start in starts if added[start : start + len(plain)] == plain]
    pieces = [text[begin:end] for begin, end in pairwise((0, *cuts, len(text)))]
    for anchor in ANCHORS if found else ():
        before = ids_of(anchor)
        behind = [ids_of(anchor + piece) for piece in pieces[1:]]
        if any(tokens[: len(before)] != before for tokens in behind):
            continue
        ids = [*ids_of(pieces[0]), *chain(*(tokens[len(before) :] for tokens in behind))]
        if said(ids) == said(plain):
            row = array([added[: found[0]] + ids + added[found[0] + len(plain) :]])
            return TokenizedInputs(Tensor(row), Tensor(ones_like(row)))
    raise PromptRefused(
        "the prompt holds a special token of the model that its tokenizer cannot read as text",
        remedy="leave it out, or set prompt.special_tokens_in_text in the recipe",
    )
