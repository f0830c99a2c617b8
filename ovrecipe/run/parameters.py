"""From the layers of generation parameters to one GenAI GenerationConfig."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.recipe.schema import SAMPLING, layered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The bound where neither artifact, recipe nor caller gives one: GenAI's own is "for ever".
DEFAULT_MAX_NEW_TOKENS = 256
#: What cannot be honoured here, and why.
UNSUPPORTED = {
    "apply_chat_template": "the prompt is rendered from the recipe and passed as token ids",
    "logprobs": "probabilities are not handed out",
    "return_omni_outputs": "only text comes out",
}
SETS = ("stop_strings", "stop_token_ids")


def merged(
    recipe: Mapping[str, Any], call: Mapping[str, Any], *, stop: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the recipe's parameters with the call's on top.

    `stop` (the recipe's `prompt.stop`) always stops; `stop_strings` come on top of it. A sampling
    parameter without `do_sample` means sampling, or it would be ignored. `greedy=True` is
    `do_sample=False`.

    Raises:
        GenerationParameterRefused: parameters of the call contradict each other.
    """
    call = _without_greedy(call)
    if call.get("do_sample") is False:
        _refuse_sampling(call)
    parameters = _sampling_meant(layered(dict(recipe), call))
    stops = {*stop, *parameters.get("stop_strings", ())}
    return {**parameters, "stop_strings": stops} if stops else parameters


def _without_greedy(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call's own parameters with `greedy` spelt as GenAI spells it."""
    given = {name: value for name, value in call.items() if value is not None}
    greedy = given.pop("greedy", False)
    if greedy and given.get("do_sample"):
        raise GenerationParameterRefused("do_sample: cannot be true together with greedy")
    return {**given, "do_sample": False} if greedy else given


def _sampling_meant(parameters: dict[str, Any]) -> dict[str, Any]:
    if "do_sample" not in parameters and any(name in parameters for name in SAMPLING):
        return {**parameters, "do_sample": True}
    return parameters


def _refuse_sampling(call: Mapping[str, Any]) -> None:
    named = [name for name in SAMPLING if name in call]
    if named:
        raise GenerationParameterRefused(
            f"{named[0]}: means nothing without sampling",
            remedy=f"leave out {named[0]}, or do_sample=False (--greedy)",
        )


def apply(parameters: Mapping[str, Any], config: Any) -> Any:
    """Set every parameter on a GenAI config, bound it, let GenAI judge it, and return it.

    Raises:
        GenerationParameterRefused: by the parameter's name.
    """
    for name, value in parameters.items():
        _assign(config, name, value)
    if _unlimited(config.max_new_tokens) and _unlimited(config.max_length):
        config.max_new_tokens = DEFAULT_MAX_NEW_TOKENS
    _validate(config, parameters)
    return config


def _unlimited(count: int) -> bool:
    """Return whether a limit is GenAI's "none", which is the largest 64-bit number."""
    return count >= 2**63


def _assign(config: Any, name: str, value: Any) -> None:
    known = [each for each in dir(config) if _is_parameter(config, each)]
    if name in UNSUPPORTED:
        raise GenerationParameterRefused(f"{name}: cannot be given; {UNSUPPORTED[name]}")
    if name not in known:
        raise GenerationParameterRefused(
            f"{name}: the installed GenAI has no such generation parameter{_closest(name, known)}"
        )
    try:
        setattr(config, name, _as_genai_takes_it(config, name, value))
    except (TypeError, ValueError, KeyError) as exc:
        raise GenerationParameterRefused(f"{name}: GenAI does not take {value!r}") from exc


def _is_parameter(config: Any, name: str) -> bool:
    return not name.startswith("_") and not callable(getattr(config, name))


def _closest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, [*known, "greedy"], n=1)
    return f"; perhaps you meant '{near[0]}'" if near else ""


def _as_genai_takes_it(config: Any, name: str, value: Any) -> Any:
    if isinstance(value, float) and value != value:
        raise ValueError(name)
    if name in SETS:
        return {value} if isinstance(value, str | int) else set(value)
    if name == "stop_criteria" and isinstance(value, str):
        return type(config.stop_criteria).__members__[value]
    return value


def _validate(config: Any, parameters: Mapping[str, Any]) -> None:
    """Let GenAI judge the whole; its own check waits until generation has begun."""
    if config.num_return_sequences != 1:
        raise GenerationParameterRefused("num_return_sequences: one answer is streamed; give 1")
    try:
        config.validate()
    except RuntimeError as exc:
        reason = _reason(str(exc))
        raise GenerationParameterRefused(f"{_culprit(str(exc), parameters)}{reason}") from exc


def _culprit(message: str, parameters: Mapping[str, Any]) -> str:
    """Return `name=value: ` for the parameter that GenAI's message is about."""
    condition = re.search(r"Check '(.*?)' failed", message)
    words = re.findall(r"\w+", condition[1] if condition else message)
    named = [word for word in words if word in parameters]
    if not named:
        return ""
    return f"{named[0]}={parameters[named[0]]!r}: "


def _reason(message: str) -> str:
    """Return GenAI's sentence without the place in its source."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return " ".join(lines[1:]) if len(lines) > 1 else message.strip()
