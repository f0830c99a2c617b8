"""The IR by itself behind the runner's protocol, token by token, where GenAI does not run it.

For models with which neither attention of GenAI answers as the source does, those without any
attention first of all. It needs OpenVINO and GenAI's tokenizer, and neither torch nor GenAI's
pipelines, so what only these do is refused by name.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GenerationParameterRefused, RunError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.run.assistants import check_adapter
from ovrecipe.run.detokenizing import StopTexts, TokenText, new_texts
from ovrecipe.run.genai import (
    GenaiModel,
    cannot_be_loaded,
    check_device,
    name_of_form,
    own_config,
)
from ovrecipe.run.parameters import apply
from ovrecipe.run.pipeline import Ended, OnText, Tokens
from ovrecipe.run.sampling import Sampler
from ovrecipe.types import FinishReason, Metrics
from ovrecipe.wording import last_line

#: The parameters of GenAI's configuration that are done here; another one must have the value that
#: GenAI gives it by itself.
DONE = frozenset(
    {
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "rng_seed"),
        *("max_new_tokens", "max_length", "min_new_tokens", "repetition_penalty"),
        *("eos_token_id", "ignore_eos", "stop_token_ids"),
        *("stop_strings", "include_stop_str_in_output", "apply_chat_template"),
    }
)


def open_steps(
    model_dir: Path,
    device: str,
    *,
    properties: Mapping[str, Any],
    tokenizer: Any = None,
) -> StepsPipeline:
    """Load a model; `tokenizer` is GenAI's, where it is not the one of the folder.

    Raises:
        DeviceUnknown: the device is not on this machine.
        RunError: OpenVINO cannot load the model there.
    """
    prepare_libraries(sys.modules, os.environ, properties)
    from openvino import Core
    from openvino_genai import Tokenizer

    check_device(device, Core().available_devices)
    began = time.perf_counter()
    try:
        tokenizer = tokenizer or Tokenizer(model_dir)
        model = StatefulModel(model_dir, properties, device=device)
    except (RuntimeError, TypeError) as exc:
        raise cannot_be_loaded(device, exc) from exc
    load_time_ms = (time.perf_counter() - began) * 1000
    return StepsPipeline(model, tokenizer, device, lambda: own_config(model_dir), load_time_ms)


def check_done(config: Any) -> None:
    """Refuse a parameter that only GenAI's pipelines know, with another value than its usual one.

    Raises:
        GenerationParameterRefused: by name.
    """
    usual = type(config)()
    for name in dir(usual):
        value = getattr(usual, name)
        if name in DONE or name.startswith("_") or callable(value):
            continue
        if getattr(config, name) != value:
            what = name_of_form(config) if name == "structured_output_config" else name
            raise GenerationParameterRefused(
                f"{what}: OpenVINO GenAI runs this model wrongly, so it is run without, and "
                f"{what} is not done then",
                remedy="leave it out; greedy answers, sampling and stop texts are done",
            )


def check_steps_parameters(parameters: Mapping[str, Any], model_dir: Path) -> None:
    """Refuse parameters that are not done here, before a model is loaded.

    Raises:
        GenerationParameterRefused: by name.
    """
    given = {name: value for name, value in parameters.items() if name != "adapter"}
    check_done(apply(given, own_config(model_dir)))


class StepsPipeline(GenaiModel):
    """A stateful IR, its tokenizer, and the loop over its tokens."""

    def __init__(
        self,
        model: StatefulModel,
        tokenizer: Any,
        device: str,
        own_config: Callable[[], Any],
        load_time_ms: float,
    ) -> None:
        super().__init__(model, tokenizer, device, own_config)
        self._load_time_ms = load_time_ms

    def configure(self, parameters: Mapping[str, Any]) -> Any:
        """Return the artifact's own generation config with `parameters` on top.

        Raises:
            GenerationParameterRefused: one of them is not done here.
        """
        given = {name: value for name, value in parameters.items() if name != "adapter"}
        check_adapter(parameters.get("adapter") or "", {})
        config = super().configure(given)
        check_done(config)
        return config

    def generate(self, tokens: Tokens, config: Any, on_text: OnText) -> Ended:
        """Generate until the model ends, the limit is reached or `on_text` returns False.

        Raises:
            RunError: the model failed.
        """
        ids = [int(token) for token in tokens.ids.input_ids.data[0]]
        limit, ending = self.max_new_tokens(config, len(ids)), self._ending(config)
        text = TokenText()
        stops = StopTexts(config.stop_strings, included=config.include_stop_str_in_output)
        wanted = ended = False

        def go_on() -> bool:
            # Reading a prompt takes its time, and nobody may want the answer any more.
            nonlocal wanted
            wanted = on_text("")
            return wanted

        stamps = [time.perf_counter()]
        for token in self.written(ids, config, go_on=go_on):
            stamps.append(time.perf_counter())
            text.tokens.append(token)
            ended = token in ending
            last = ended or len(text.tokens) == limit
            [piece] = new_texts(self, [(text, last)])
            wanted = on_text(stops.take(piece, last=last))
            if stops.found or not wanted:
                break
        reason: FinishReason = "stop" if ended or stops.found else "length"
        return Ended(
            reason if wanted else "cancelled",
            len(text.tokens),
            _metrics(stamps, self._load_time_ms),
            by_the_model=ended and not stops.found,
        )

    def written(
        self, ids: Sequence[int], config: Any, *, go_on: Callable[[], bool] = lambda: True
    ) -> Iterator[int]:
        """Yield the tokens of an answer; none if `go_on` says no while the prompt is read.

        Raises:
            RunError: the model failed.
        """
        ending, limit = self._ending(config), self.max_new_tokens(config, len(ids))
        sampler = Sampler(config, ending, ids)
        self.llm.forget()
        for piece in [[token] for token in ids] if self.llm.one_at_a_time else [ids]:
            logits = self._logits(piece)
            if not go_on():
                return
        for left in reversed(range(limit)):
            token = sampler.next(logits)
            yield token
            if token in ending:
                return
            if left:
                logits = self._logits([token])

    def _ending(self, config: Any) -> set[int]:
        """Return the tokens that end an answer; a config may leave them to the tokenizer."""
        if config.ignore_eos:
            return set()
        eos = int(self._tokenizer.get_eos_token_id())
        known = {*config.stop_token_ids, config.eos_token_id, eos}
        return {token for token in known if 0 <= token < self.llm.vocabulary_size}

    def _logits(self, tokens: Sequence[int]) -> Any:
        """Read tokens, and return the logits of what follows the last.

        Raises:
            RunError: the model failed, or they are no numbers.
        """
        from numpy import isfinite

        try:
            found = self.llm.logits([tokens])[0, -1]
        except RuntimeError as exc:
            raise RunError(f"generation failed on {self.device}: {last_line(exc)}") from exc
        if not isfinite(found.max()):
            raise RunError(f"generation failed on {self.device}: the model's logits are no numbers")
        return found


def _metrics(stamps: Sequence[float], load_time_ms: float) -> Metrics:
    """Return the figures of an answer: when it was asked for, then when each token came."""
    asked, *came = stamps
    first = came[0] if came else time.perf_counter()
    tpot_ms = (came[-1] - first) * 1000 / (len(came) - 1) if len(came) > 1 else None
    return Metrics(
        ttft_ms=(first - asked) * 1000,
        tpot_ms=tpot_ms,
        throughput=1000 / tpot_ms if tpot_ms else None,
        load_time_ms=load_time_ms,
    )
