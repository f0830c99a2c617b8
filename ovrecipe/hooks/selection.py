"""Which plugins may be loaded: the two environment variables and the `-p` options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovrecipe.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovrecipe.hooks.loading import PluginSource

DISABLED = "OVRECIPE_DISABLED_PLUGINS"
ONLY = "OVRECIPE_LOAD_PLUGINS"


@dataclass(frozen=True)
class Selection:
    """What the user asked for; names are those of entry points or of distributions.

    `only` is None when every installed plugin may be loaded; `named` are the files and modules
    of `-p`; `everything_disabled` leaves the built-in plugin and the named ones.
    """

    disabled: frozenset[str] = frozenset()
    everything_disabled: bool = False
    only: frozenset[str] | None = None
    named: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether no installed plugin is skipped."""
        return not (self.everything_disabled or self.disabled) and self.only is None

    def reason_against(self, source: PluginSource) -> str | None:
        """Return why an installed plugin is not loaded, or None when it may be."""
        names = {canonical(source.name), canonical(source.distribution or source.name)}
        if self.everything_disabled:
            return f"{DISABLED} disables every plugin"
        if names & self.disabled:
            return f"skipped by {DISABLED} or -p no:{source.name}"
        if self.only is not None and not names & self.only:
            return f"not among those of {ONLY}"
        return None


def select(env: Mapping[str, str], options: Sequence[str]) -> Selection:
    """Return the selection of an environment and of the values of `-p`.

    Raises:
        PluginError: `-p no:builtin`, for nothing works without the built-in plugin.
    """
    skipped = [each.removeprefix("no:") for each in options if each.startswith("no:")]
    disabled = {*_names(env.get(DISABLED, "")), *map(canonical, skipped)}
    if "builtin" in disabled:
        raise PluginError(
            "the built-in plugin cannot be skipped",
            remedy=f"{DISABLED}=all skips every other plugin",
        )
    return Selection(
        disabled=frozenset(disabled),
        everything_disabled=bool(disabled & {"*", "all"}),
        only=_names(env[ONLY]) if env.get(ONLY) else None,
        named=tuple(each for each in options if not each.startswith("no:")),
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(canonical(each) for each in text.split(",") if each.strip())


def canonical(name: str) -> str:
    """Return a name as PEP 503 compares it: `Ovrecipe_AWQ` is `ovrecipe-awq`."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
