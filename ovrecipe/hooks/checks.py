"""What is checked when a plugin is loaded: its hooks, its names, the ovrecipe it was made for."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import pluggy

from ovrecipe.hooks import specs
from ovrecipe.hooks.markers import PROJECT

if TYPE_CHECKING:
    from pluggy import HookImpl


class HookError(Exception):
    """A plugin breaks the rules of hooks; the message is the reason that is listed."""


def hook_names() -> list[str]:
    """Return the hooks in the order of `ovrecipe.hooks.specs`."""
    marked = f"{PROJECT}_spec"
    return [name for name, value in vars(specs).items() if hasattr(value, marked)]


def read_hooks(plugin: object) -> dict[str, HookImpl]:
    """Return a plugin's implementations by hook name.

    pluggy validates each plugin in a manager of its own: a half-valid plugin leaves no hooks
    behind, and each lookup knows who answered.

    Raises:
        HookError: a hook is misspelt, takes what its specification does not have, has
            defaults, is a wrapper, lacks the marker, or there is none at all.
    """
    if inspect.isclass(plugin):
        raise HookError(f"{plugin.__name__} is a class; the entry point must name an instance")
    found = _implementations(plugin)
    _refuse_unmarked(plugin, found)
    if not found:
        raise HookError("implements no hook; mark functions with @ovrecipe.hookimpl")
    for name, impl in found.items():
        _refuse_what_pluggy_would_ignore(name, impl)
    return found


def _implementations(plugin: object) -> dict[str, HookImpl]:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise HookError(_unknown_arguments(plugin, error)) from error
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if caller.spec is None and not caller.get_hookimpls()[0].optionalhook:
            raise HookError(_unknown_hook(caller.name))
    return {each.name: each.get_hookimpls()[0] for each in callers if each.spec is not None}


def _unknown_hook(name: str) -> str:
    close = get_close_matches(name, hook_names(), n=1)
    hint = f"perhaps you meant {close[0]!r}" if close else "'ovrecipe plugins' lists the hooks"
    return f"there is no hook {name!r}; {hint}, or it needs a newer ovrecipe"


def _unknown_arguments(plugin: object, error: pluggy.PluginValidationError) -> str:
    for name in hook_names():
        function = getattr(plugin, name, None)
        if function is None or not callable(function):
            continue
        known = list(inspect.signature(getattr(specs, name)).parameters)
        unknown = [each for each in inspect.signature(function).parameters if each not in known]
        if unknown:
            return f"{name}: unknown argument {unknown[0]!r}; the hook has {', '.join(known)}"
    return " ".join(str(error).split())


def _refuse_unmarked(plugin: object, found: Mapping[str, HookImpl]) -> None:
    """A function that is named like a hook and forgets the marker would never be called."""
    own = getattr(plugin, "__name__", None)
    for name in hook_names():
        function = getattr(plugin, name, None)
        if name in found or not inspect.isfunction(function):
            continue
        if function.__module__ == own:
            raise HookError(f"{name}: lacks the marker @ovrecipe.hookimpl, so it is never called")


def _refuse_what_pluggy_would_ignore(name: str, impl: HookImpl) -> None:
    if impl.kwargnames:
        raise HookError(
            f"{name}: argument {impl.kwargnames[0]!r} has a default; remove the default, "
            "for pluggy passes nothing to such an argument"
        )
    if impl.hookwrapper or impl.wrapper:
        raise HookError(f"{name}: is a wrapper; ovrecipe asks each plugin by itself")


def requirement_problem(requires: Iterable[str], ovrecipe_version: str) -> str | None:
    """Return why a distribution's `Requires-Dist` does not fit this ovrecipe, or None.

    pip does not stop an ovrecipe from being downgraded under its plugins.
    """
    for line in requires:
        if line.lower().startswith(PROJECT) and (wanted := _wanted(line, ovrecipe_version)):
            return f"needs {PROJECT}{wanted}, and this is {PROJECT} {ovrecipe_version}"
    return None


def _wanted(line: str, ovrecipe_version: str) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None  # pip has installed it, so it is pip's to judge
    if requirement.name.lower() != PROJECT:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    fits = requirement.specifier.contains(ovrecipe_version, prereleases=True)
    return None if fits else str(requirement.specifier)


def names_problem(names: object) -> str | None:
    """Return what is wrong with an answer of `provider_names`, or None."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence):
        return f"provider_names: returned {type(names).__name__}; it returns a list of names"
    odd = [each for each in names if not isinstance(each, str)]
    return f"provider_names: {odd[0]!r} is no name" if odd else None
