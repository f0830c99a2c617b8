"""GenAI's continuous batching behind the engine's protocol: many prompts at once, step by step.

Measured of GenAI 2026.4: an exception out of a step ends the pipeline for good; `read` with nothing
to read never returns; the tokens of a stop text are held back until it is decided.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrecipe.errors import DeviceUnknown, EngineFailed, GenerationParameterRefused, RunError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.run.assistants import opened_adapter
from ovrecipe.run.genai import GenaiModel, check_device, metrics_of
from ovrecipe.run.pipeline import Generated, Tokens
from ovrecipe.types import FinishReason
from ovrecipe.wording import last_line

#: How many positions of the cache GenAI gives out together, on a CPU and elsewhere.
BLOCK_SIZE, OTHER_BLOCK_SIZE = 32, 16
#: How many tokens a step computes; more lets a long prompt hold up those who read an answer.
STEP_TOKENS = 256


@dataclass(frozen=True)
class Room:
    """How much is generated at once: GB of cache, and answers."""

    cache_gb: int = 1
    most_at_once: int = 256


@dataclass(frozen=True)
class FixedAdapter:
    """The LoRA adapter that all answers of a pipeline have: its name, file and factor."""

    name: str
    path: Path
    alpha: float


def open_batching(
    model_dir: Path,
    device: str,
    *,
    room: Room,
    properties: Mapping[str, Any],
    adapter: FixedAdapter | None = None,
) -> GenaiBatching:
    """Load a model for many prompts at once, with one adapter for all of them.

    Raises:
        DeviceUnknown: the device is not on this machine, or is an NPU, which takes one prompt.
        RunError: OpenVINO cannot load the model there, or the adapter.
    """
    prepare_libraries(sys.modules, os.environ, properties)
    from openvino import Core
    from openvino_genai import AdapterConfig, ContinuousBatchingPipeline, SchedulerConfig

    check_device(device, Core().available_devices)
    if "NPU" in device:
        raise DeviceUnknown(
            f"device '{device}': an NPU answers one prompt at a time",
            remedy="take another device, or 'ovrecipe run'",
        )
    scheduler = SchedulerConfig()
    scheduler.cache_size = room.cache_gb
    scheduler.max_num_seqs = room.most_at_once
    scheduler.max_num_batched_tokens = max(STEP_TOKENS, room.most_at_once)
    # What several prompts begin with is computed once.
    scheduler.enable_prefix_caching = True
    given = dict(properties)
    if adapter is not None:
        # GenAI passes over the adapters of a single request here; a static one is always on.
        static = AdapterConfig.Mode.MODE_STATIC
        loaded = opened_adapter(adapter.name, adapter.path)
        given["adapters"] = AdapterConfig(loaded, adapter.alpha, static)
    try:
        pipeline = ContinuousBatchingPipeline(model_dir, scheduler, device, given)
    except (RuntimeError, TypeError) as exc:
        raise RunError(
            f"the model cannot be loaded on {device} for many prompts at once: {last_line(exc)}",
            remedy="'ovrecipe verify' checks the artifact's files, 'ovrecipe devices' the device",
        ) from exc
    name = adapter.name if adapter is not None else ""
    return GenaiBatching(pipeline, device, most_at_once=room.most_at_once, adapter=name)


class GenaiBatching(GenaiModel):
    """A `ContinuousBatchingPipeline` and its tokenizer; loaded and warm."""

    def __init__(self, pipeline: Any, device: str, *, most_at_once: int, adapter: str = "") -> None:
        super().__init__(pipeline, pipeline.get_tokenizer(), device, pipeline.get_config)
        self.most_at_once = most_at_once
        #: The adapter that every answer has; "" for none.
        self.adapter = adapter
        self.block_size = BLOCK_SIZE if device == "CPU" else OTHER_BLOCK_SIZE
        self._numbers = 0
        self.blocks = self._warm_up()

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return the artifact's own generation config with `parameters` on top.

        Raises:
            GenerationParameterRefused: by name; so is an adapter that is not the one it has.
        """
        wanted = parameters.get("adapter")
        if wanted is not None and wanted != self.adapter:
            has = f"'{self.adapter}'" if self.adapter else "no adapter"
            raise GenerationParameterRefused(
                f"adapter: all answers here have {has}, and cannot have '{wanted}'",
                remedy="load the model with it: 'ovrecipe batch --adapter', load_engine(adapter=), "
                "or the server's model NAME:VARIANT@ADAPTER",
            )
        given = {name: value for name, value in parameters.items() if name != "adapter"}
        return super().configure(given)

    def add(self, tokens: Tokens, config: Any) -> GenaiAnswering:
        """Take a prompt in.

        Raises:
            RunError: GenAI does not take it.
        """
        # A number that a running request has would end the pipeline.
        self._numbers += 1
        ids = getattr(tokens.ids, "input_ids", tokens.ids)
        try:
            return GenaiAnswering(self.llm.add_request(self._numbers, ids, config))
        except (RuntimeError, TypeError) as exc:
            raise RunError(f"GenAI does not take the request: {last_line(exc)}") from exc

    def step(self) -> None:
        """Compute one step of all answers.

        Raises:
            EngineFailed: GenAI failed, and never does a step again.
        """
        try:
            self.llm.step()
        except Exception as exc:
            raise EngineFailed(
                f"the model failed on {self.device}: {last_line(exc)}",
                remedy="what was being answered is lost; ask again once it is loaded again",
            ) from exc

    def _warm_up(self) -> int:
        """Generate two tokens, and return how many blocks the cache has, as their share of it."""
        config = self.configure({"max_new_tokens": 2, "do_sample": False, "ignore_eos": True})
        answering = self.add(self.encode("warm", add_special_tokens=False), config)
        share = 0.0
        while self.llm.has_non_finished_requests():
            self.step()
            share = max(share, float(self.llm.get_metrics().cache_usage))
            answering.read()
        return round(100 / share) if share else 0


class GenaiAnswering:
    """GenAI's handle of one request."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def read(self) -> Generated | None:
        """Return what came since it was read last; None where nothing did."""
        from openvino_genai import GenerationFinishReason, GenerationStatus

        tokens: list[int] = []
        logprobs: list[float] = []
        ended: FinishReason | None = None
        while self._handle.can_read():
            (output,) = self._handle.read().values()
            tokens += output.generated_ids
            logprobs += output.generated_log_probs
            if output.finish_reason == GenerationFinishReason.LENGTH:
                ended = "length"
            elif output.finish_reason != GenerationFinishReason.NONE:
                ended = "stop"
        if ended is None and self._handle.get_status() == GenerationStatus.IGNORED:
            # The cache is too small for it alone.
            ended = "length"
        if not tokens and ended is None:
            return None
        return Generated(tokens, logprobs, ended, self._metrics() if ended else None)

    def _metrics(self) -> Any:
        try:
            return metrics_of(self._handle.get_perf_metrics())[0]
        except RuntimeError:
            return None  # of one that was ignored

    def cancel(self) -> None:
        """Let the model forget it at the end of the next step."""
        self._handle.cancel()
