"""What can be found out about a plugin by asking it for all that it says it provides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.conformance import provider_problems
from ovrecipe.hooks.loading import call, one_line
from ovrecipe.hooks.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pluggy import HookImpl

    from ovrecipe.hooks.roles import Role
    from ovrecipe.recipe.schema import Recipe

#: A name that no plugin can mean.
NOBODYS_NAME = "a-name-that-nobody-provides"


def sample_recipe(sections: Mapping[str, Any] | None = None) -> Recipe:
    """Return the smallest recipe; hooks are asked with it when there is no real one."""
    from ovrecipe.recipe.schema import Recipe

    return Recipe.model_validate(
        {
            "name": "sample",
            "path": Path("sample.yaml"),
            "model": {"id": "example/model"},
            "variants": {"fp16": {}},
            "plugins": dict(sections or {}),
        }
    )


def plugin_problems(hooks: Mapping[str, HookImpl], recipe: Recipe) -> list[str]:
    """Return what is wrong with a plugin's answers; every name that it lists is asked for."""
    return [problem for role in ROLES for problem in _role_problems(hooks, role, recipe)]


def _role_problems(hooks: Mapping[str, HookImpl], role: Role, recipe: Recipe) -> Iterator[str]:
    hook = f"get_{role}"
    names = _names(hooks, role)
    if hook not in hooks:
        yield from (f"provider_names lists the {role} {each!r}, but {hook} lacks" for each in names)
        return
    if not names:
        yield f"{hook} is implemented, but provider_names lists no name for {role!r}"
    for name in names:
        yield from _provider_problems(hooks[hook], role, name, recipe)
    if _answer(hooks[hook], NOBODYS_NAME, recipe) is not None:
        yield f"{hook} answers to every name; it must return None for names of others"


def _names(hooks: Mapping[str, HookImpl], role: Role) -> tuple[str, ...]:
    impl = hooks.get("provider_names")
    return () if impl is None else tuple(call(impl, {"role": role}) or ())


def _provider_problems(impl: HookImpl, role: Role, name: str, recipe: Recipe) -> Iterator[str]:
    answer = _answer(impl, name, recipe)
    if isinstance(answer, _Raised):
        yield f"get_{role}({name!r}) raised {answer.reason}"
    elif answer is None:
        yield f"get_{role}({name!r}) returned None, but provider_names lists the name"
    else:
        yield from (f"get_{role}({name!r}): {each}" for each in provider_problems(role, answer))


class _Raised:
    """An exception in the place of an answer."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _answer(impl: HookImpl, name: str, recipe: Recipe) -> object:
    try:
        return call(impl, {"name": name, "recipe": recipe})
    except (Exception, SystemExit) as error:  # noqa: BLE001 - becomes a line of the report
        return _Raised(one_line(error))
