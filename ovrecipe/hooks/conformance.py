"""Whether an object fits a role: read off the protocols, so that the two cannot drift apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks import roles

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import Role

PROTOCOLS: Mapping[Role, type] = {
    "source": roles.Source,
    "exporter": roles.Exporter,
    "tokenizer_converter": roles.TokenizerConverter,
    "compressor": roles.Compressor,
    "evaluator": roles.Evaluator,
    "output_filter": roles.FilterProvider,
    "frontend": roles.Frontend,
}


def provider_problems(role: Role, provider: object) -> list[str]:
    """Return what keeps `provider` from being used for `role`; empty when all is well."""
    return protocol_problems(PROTOCOLS[role], provider)


def protocol_problems(protocol: type, candidate: object) -> list[str]:
    """Return which attributes and methods of `protocol` a candidate lacks or has differently."""
    if inspect.isclass(candidate):
        return [f"the class {candidate.__name__} was returned; return an instance of it"]
    attributes = [_attribute_problem(name, candidate) for name in protocol.__annotations__]
    methods = [_method_problem(name, each, candidate) for name, each in _methods(protocol)]
    return [problem for problem in (*attributes, *methods) if problem is not None]


def _methods(protocol: type) -> list[tuple[str, Callable[..., Any]]]:
    return [
        (name, value)
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


def _attribute_problem(name: str, candidate: object) -> str | None:
    if not hasattr(candidate, name):
        return f"has no attribute {name!r}"
    value = getattr(candidate, name)
    expected = _EXPECTED.get(name)
    if expected is None or expected[0](value):
        return None
    return f"{name} is {value!r}; it must be {expected[1]}"


def _is_names(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(each, str) for each in value)
    )


def _is_options_model(value: object) -> bool:
    return value is None or (inspect.isclass(value) and hasattr(value, "model_validate"))


_EXPECTED: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "packages": (_is_names, "a sequence of distribution names"),
    "version": (lambda value: type(value) is int, "a whole number"),
    "needs_pin": (lambda value: type(value) is bool, "true or false"),
    "options_model": (_is_options_model, "a pydantic class or None"),
}


def _method_problem(name: str, method: Callable[..., Any], candidate: object) -> str | None:
    own = getattr(candidate, name, None)
    if own is None:
        return f"has no method {name!r}"
    if not callable(own):
        return f"{name} is {own!r}; it must be a method"
    parameters = list(inspect.signature(method).parameters.values())[1:]
    positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    named = {each.name: None for each in parameters if each.kind is each.KEYWORD_ONLY}
    try:
        inspect.signature(own).bind(*positional, **named)
    except TypeError as error:
        shown = ", ".join([*positional, *(f"{each}=" for each in named)])
        return f"{name}() is called with ({shown}), and: {error}"
    except ValueError:
        return None  # a callable written in C does not tell its signature
    return None
