"""Generation parameters: from what is asked for to one GenAI GenerationConfig."""

import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ovrecipe.errors import GenerationParameterRefused
from ovrecipe.recipe.forms import FORMS, NOT_BESIDE_A_FORM, form_problems, read_schema
from ovrecipe.recipe.schema import SAMPLING
from ovrecipe.wording import perhaps

#: The bound where neither artifact nor caller gives one: GenAI's own is "for ever".
DEFAULT_MAX_NEW_TOKENS = 256
#: What cannot be honoured here, and why.
UNSUPPORTED = {
    "apply_chat_template": "the prompt is rendered from the chat template and passed as token ids",
    "logprobs": "probabilities are not handed out",
    "structured_output_config": f"give {', '.join(FORMS[:-1])} or {FORMS[-1]} by name",
    "return_omni_outputs": "only text comes out",
}
SETS = ("stop_strings", "stop_token_ids")
#: Seeds that are drawn stay below this, so that every reader of JSON keeps them exact.
SEEDS = 2**32


def merged(call: Mapping[str, Any], *, stop: Iterable[str] | str | None = None) -> dict[str, Any]:
    """Return parameters as GenAI is to be told them, on top of those that it has.

    A sampling parameter without `do_sample` means sampling, or it would be ignored. `greedy=True`
    and `temperature=0` are `do_sample=False`. `stop` always stops; `stop_strings` come on top.

    Raises:
        GenerationParameterRefused: parameters contradict each other.
    """
    given = {name: value for name, value in call.items() if value is not None}
    is_cold = given.get("temperature") == 0
    if is_cold:
        del given["temperature"]
    if given.pop("greedy", False) or is_cold:
        if given.get("do_sample"):
            word = "temperature 0" if is_cold else "greedy"
            raise GenerationParameterRefused(f"do_sample: cannot be true together with {word}")
        given["do_sample"] = False
    named = [name for name in SAMPLING if name in given]
    if named and given.get("do_sample") is False:
        raise GenerationParameterRefused(
            f"{named[0]}: means nothing without sampling",
            remedy=f"leave out {named[0]}, or do_sample=False (--greedy, --temperature 0)",
        )
    if named:
        given.setdefault("do_sample", True)
    stops = {*_texts(stop), *_texts(given.get("stop_strings"))}
    return {**given, "stop_strings": stops} if stops else given


def _texts(stop: Iterable[str] | str | None) -> Iterable[str]:
    """Return stop texts as a list; transformers takes a single text as well."""
    if stop is None:
        return ()
    texts: Any = [stop] if isinstance(stop, str) else stop
    if not isinstance(texts, Collection) or not all(_is_text(text) for text in texts):
        raise GenerationParameterRefused(f"stop_strings: must be texts, none empty; got {stop!r}")
    return texts


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def seeded(
    parameters: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[dict[str, Any], int | None]:
    """Return the parameters with a seed where they sample, and that seed; None where they do not.

    Without `rng_seed` in them or among the artifact's `own` parameters one is drawn: GenAI's is
    the same each time, and so would be the answers.
    """
    whole = {**own, **parameters}
    if not whole.get("do_sample"):
        return dict(parameters), None
    seed = whole.get("rng_seed")
    if seed is None:
        seed = secrets.randbelow(SEEDS)
    return {**parameters, "rng_seed": seed}, seed


def apply(parameters: Mapping[str, Any], config: Any) -> Any:
    """Set every parameter on a GenAI config, bound it, let GenAI judge it, and return it.

    Raises:
        GenerationParameterRefused: by the parameter's name.
    """
    known = [name for name in dir(config) if name[0] != "_" and not callable(getattr(config, name))]
    for name, value in parameters.items():
        if name in FORMS:
            continue
        if name in UNSUPPORTED:
            raise GenerationParameterRefused(f"{name}: cannot be given; {UNSUPPORTED[name]}")
        if name not in known:
            close = perhaps(name, [*known, "greedy", *FORMS])
            raise GenerationParameterRefused(
                f"{name}: the installed GenAI has no such generation parameter{close}"
            )
        try:
            setattr(config, name, _as_genai_takes_it(config, name, value))
        except (TypeError, ValueError, KeyError) as exc:
            raise GenerationParameterRefused(f"{name}: GenAI does not take {value!r}") from exc
    _hold_to_a_form(config, parameters)
    # GenAI's "no limit" is the largest 64-bit number.
    if min(config.max_new_tokens, config.max_length) >= 2**63:
        config.max_new_tokens = DEFAULT_MAX_NEW_TOKENS
    _check_whole(config, parameters)
    return config


def form_of(parameters: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form of the answer, as the one parameter that says it; {} where there is none.

    One of the call takes the place of the artifact's `own`.
    """
    for given in (parameters, own):
        if forms := {name: given[name] for name in FORMS if given.get(name) is not None}:
            return forms
    return {}


def _hold_to_a_form(config: Any, parameters: Mapping[str, Any]) -> None:
    known = {name: getattr(config, name) for name in NOT_BESIDE_A_FORM}
    for name, reason in form_problems({**known, **parameters}):
        raise GenerationParameterRefused(f"{name}: {reason}")
    for name, value in form_of(parameters, {}).items():
        from openvino_genai import StructuredOutputConfig

        text = json.dumps(read_schema(value)) if name == "json_schema" else value
        config.structured_output_config = StructuredOutputConfig(**{name: text})


def _as_genai_takes_it(config: Any, name: str, value: Any) -> Any:
    if isinstance(value, float) and value != value:
        raise ValueError(name)
    if name in SETS:
        return {value} if isinstance(value, str | int) else set(value)
    if name == "stop_criteria" and isinstance(value, str):
        return type(config.stop_criteria).__members__[value]
    return value


def _check_whole(config: Any, parameters: Mapping[str, Any]) -> None:
    """Let GenAI judge the whole; its own check waits until generation has begun."""
    if config.num_return_sequences != 1:
        raise GenerationParameterRefused("num_return_sequences: one answer is streamed; give 1")
    try:
        config.validate()
    except RuntimeError as exc:
        lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
        condition = re.search(r"Check '(.*?)' failed", str(exc))
        words = re.findall(r"\w+", condition[1] if condition else str(exc))
        culprits = [f"{word}={parameters[word]!r}:" for word in words if word in parameters]
        # The first line is the place in GenAI's source.
        reason = " ".join([*culprits[:1], *(lines[1:] or lines)])
        raise GenerationParameterRefused(reason) from exc
