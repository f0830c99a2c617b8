"""The options that a recipe gives to a provider, as the provider's own class."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Protocol

from ovrecipe.errors import RecipeInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel, ValidationError


class TakesOptions(Protocol):
    """A provider of any role that has options."""

    options_model: type[BaseModel] | None


def validated(
    provider: TakesOptions, options: Mapping[str, Any], *, where: str
) -> BaseModel | None:
    """Return a provider's options as its own class, or say what is wrong with them."""
    from pydantic import ValidationError

    if provider.options_model is None:
        if options:
            raise RecipeInvalid(f"{where}.{next(iter(options))}: it takes no options")
        return None
    try:
        return provider.options_model.model_validate(dict(options))
    except ValidationError as exc:
        raise RecipeInvalid(_problems(exc, provider.options_model, where)) from exc


def _problems(error: ValidationError, model: type[BaseModel], where: str) -> str:
    return "\n".join(
        f"{'.'.join([where, *map(str, each['loc'])])}: {_problem(each, model)}"
        for each in error.errors(include_url=False)
    )


def _problem(problem: Any, model: type[BaseModel]) -> str:
    if problem["type"] != "extra_forbidden":
        return str(problem["msg"])
    near = difflib.get_close_matches(str(problem["loc"][-1]), model.model_fields, n=1)
    return "unknown option" + (f"; perhaps you meant '{near[0]}'" if near else "")
