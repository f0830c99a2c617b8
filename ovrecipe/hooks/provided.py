"""A provider together with who provided it: what a cache key and a manifest say about it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Generic, TypeVar

from ovrecipe.errors import OvrecipeError, PluginError
from ovrecipe.hooks.loading import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ovrecipe.types import Json

P_co = TypeVar("P_co", covariant=True)


@dataclass(frozen=True)
class Provided(Generic[P_co]):
    """A provider and its origin.

    `distribution` is what pip would install; for a file named with `-p` it is None and
    `version` is the digest of the file. `release` is None for built-in providers. `sections`
    are the plugin's own sections of the recipe, validated.
    """

    provider: P_co
    name: str
    plugin: str
    distribution: str | None
    version: str
    release: str | None
    sections: Mapping[str, dict[str, Json]]
    package_version: Callable[[str], str | None]

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Turn what a plugin's provider raises by mistake into an error that names the plugin.

        Our own errors, a reader who left the pipe, and defects of built-in providers pass.
        """
        try:
            yield
        except (OvrecipeError, BrokenPipeError):
            raise
        except Exception as error:
            if self.release is None:
                raise
            who = f"{self.distribution} {self.version}" if self.distribution else "a file"
            raise PluginError(
                f"{self.name!r} of plugin {self.plugin!r} ({who}) raised {one_line(error)}",
                remedy="the plugin has a defect; tell its maintainers, or use another",
            ) from error

    def key_fields(self) -> dict[str, Json]:
        """Return what a cache key says about the provider.

        The version of ovrecipe itself is left out: a release would rebuild every artifact. The
        `version` number of a built-in provider says when its output changes.
        """
        packages: tuple[str, ...] = tuple(getattr(self.provider, "packages", ()))
        return {
            "provider": self.name,
            "distribution": self.distribution,
            "version": self.release,
            "provider_version": getattr(self.provider, "version", None),
            "sections": dict(self.sections),
            "packages": {name: self.package_version(name) for name in sorted(packages)},
        }


class PackageVersions:
    """Versions of installed distributions, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def __call__(self, name: str) -> str | None:
        """Return the version, or None when the distribution is not installed."""
        if name not in self._known:
            self._known[name] = _installed_version(name)
        return self._known[name]


def _installed_version(name: str) -> str | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    # `found.version` parses the whole file as an e-mail, README included: 1 to 2 ms for each
    # distribution, on every build.
    line = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
    return found.version if line is None else line.group(1)
