"""Telling plugins what happened; nothing that they do with it can break what they watch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.loading import call, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ovrecipe.hooks.loading import LoadedPlugin


#: The hooks that observers implement.
OBSERVER_HOOKS = ("after_stage", "after_generation")


class Observers:
    """The plugins that watch, called one at a time, in the thread in which it happened.

    Nothing is looked for or imported before the first `tell`: a build with nothing to do, and an
    answer up to its last token, cost the same with and without observers.
    """

    def __init__(self, find: Callable[[], Iterable[LoadedPlugin]]) -> None:
        self._find = find
        self._found: tuple[LoadedPlugin, ...] | None = None
        self._turn = threading.RLock()  # an observer may do what is observed

    def tell(
        self, hook: str, arguments: Mapping[str, Any], *, report: Callable[[str], None]
    ) -> None:
        """Call a hook of every observer; `report` is told of each that fails, by name.

        A plugin that does not load is reported once, not each time.
        """
        with self._turn:
            for plugin in self._loaded(report):
                if hook in plugin.hooks:
                    _tell_one(plugin, hook, arguments, report)

    def _loaded(self, report: Callable[[str], None]) -> tuple[LoadedPlugin, ...]:
        if self._found is None:
            self._found = tuple(self._find())
            for each in self._found:
                if each.failure is not None:
                    report(f"{each.source} failed to load: {each.failure}; {each.remedy}")
        return self._found


def _tell_one(
    plugin: LoadedPlugin, hook: str, arguments: Mapping[str, Any], report: Callable[[str], None]
) -> None:
    try:
        call(plugin.hooks[hook], arguments)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - reported; what it watched is done
        report(f"{plugin.source}: {hook} raised {one_line(error)}")
