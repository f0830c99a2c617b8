"""Plugins one by one: where each comes from, and what importing it gives."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pluggy import PluginValidationError

from ovrecipe.errors import PluginError
from ovrecipe.hooks.roles import ROLES
from ovrecipe.hooks.specs import PROJECT
from ovrecipe.version import __version__, fits
from ovrecipe.wording import one_line, perhaps

#: What a plugin with hooks provides: objects by role and name.
Providers: TypeAlias = "Mapping[Any, Mapping[str, object]]"
#: Modules that only `ovrecipe[build]` brings.
BUILD_MODULES = (
    "gguf", "httpx", "huggingface_hub", "nncf", "openvino_tokenizers", "optimum", "safetensors",
    "sentencepiece", "tokenizers", "torch", "tqdm", "transformers",
)  # fmt: skip
INSTALL_BUILD = "install what builds models: pip install 'ovrecipe[build]'"


def lacks_build_extra(error: BaseException | None) -> bool:
    """Return whether a module was not found that `ovrecipe[build]` would have brought."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return (missing or "").partition(".")[0] in BUILD_MODULES


@dataclass(frozen=True, eq=False)
class PluginSource:
    """Where a plugin comes from; known without importing it.

    `role` is that of one provider, and "" for what has hooks; `dist` is None for what is built in,
    and for what `-p` names.
    """

    name: str
    origin: Literal["built-in", "entry point", "file", "module", "object"]
    location: str
    load: Callable[[], object]
    role: str = ""
    dist: Distribution | None = None

    def __str__(self) -> str:
        """Return `plugin 'awq' (ovrecipe-awq 0.2)`, as every message names it."""
        return f"plugin {self.name!r} ({self.where})"

    @property
    def where(self) -> str:
        """The distribution with its version, or the file or module."""
        return f"{self.distribution} {self.version}" if self.distribution else self.location

    @property
    def misplaced(self) -> str | None:
        """What is wrong with the group of an entry point, or None."""
        if self.role in ("", *ROLES):
            return None
        group = f"{PROJECT}.{self.role}"
        close = perhaps(group, (f"{PROJECT}.{role}" for role in ROLES))
        return f"is announced in {group!r}, a group that there is not{close}"

    def belongs_with(self, other: PluginSource) -> bool:
        """Return whether two are of one distribution, of one plugin of `-p`, or both built in."""
        return (self.dist or self.location) == (other.dist or other.location)

    @property
    def how_to_skip(self) -> str:
        """How to do without it; by its distribution, a name that no other one has."""
        return f"skip it with -p no:{self.distribution}" if self.dist else "leave -p out"

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with ovrecipe itself."""
        return self.origin == "built-in"

    @cached_property
    def distribution(self) -> str | None:
        """What pip would install."""
        return PROJECT if self.is_builtin else None if self.dist is None else self.dist.name

    @cached_property
    def version(self) -> str | None:
        """The version of the distribution."""
        return __version__ if self.is_builtin else None if self.dist is None else self.dist.version

    @cached_property
    def release(self) -> str | None:
        """What stands for the plugin's code in a cache key; None for what is built in.

        A digest where the version stays: for `-p`, and after `pip install -e` (PEP 610).
        """
        if self.is_builtin:
            return None
        origin = (self.dist and self.dist.read_text("direct_url.json")) or ""
        is_fixed = self.dist and not re.search(r'"editable": *true', origin)
        return self.version if is_fixed else self._digest()

    def _digest(self) -> str:
        """Return the digest of the file, or of all Python files of the package."""
        import hashlib
        from importlib.util import find_spec

        place = self.location if self.origin == "file" else None
        if self.origin in ("module", "entry point"):
            spec = find_spec(re.split("[.:]", self.location)[0])
            place = [*(spec.submodule_search_locations or ()), spec.origin][0] if spec else None
        if place is None:
            return "unknown"
        path = Path(place)
        path = path.parent if path.name == "__init__.py" else path
        digest = hashlib.sha256()
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(path.parent).as_posix()}\0{content}\n".encode())
        return "sha256:" + digest.hexdigest()


def installed_entry_points() -> Iterable[EntryPoint]:
    """Return our entry points of every installed distribution; reads metadata of all of them."""
    found = entry_points()
    ours = [group for group in found.groups if group.partition(".")[0] == PROJECT]
    return [point for group in ours for point in found.select(group=group)]


def named_source(option: str) -> PluginSource:
    """Return the plugin that `-p` names: a Python file, or a module to import."""
    if option.endswith(".py") or "/" in option or "\\" in option:
        path = Path(option).absolute()
        name = path.parent.name if path.name == "__init__.py" else path.stem
        return PluginSource(name, "file", str(path), lambda: _import_file(path))
    return PluginSource(option, "module", option, lambda: import_module(option))


def object_source(plugin: object) -> PluginSource:
    """Return a plugin that is imported already, as tests have it."""
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return PluginSource(name, "object", name, lambda: plugin)


def _import_file(path: Path) -> object:
    from importlib.util import module_from_spec, spec_from_file_location

    name = f"ovrecipe_plugin_{path.stem}"
    spec = spec_from_file_location(name, path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if spec is None or spec.loader is None:
        raise ImportError(f"not a Python file: {path}")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True)
class Loaded:
    """What came of importing a plugin: its object, or why there is none and what it raised."""

    source: PluginSource
    seconds: float = 0.0
    value: Any = None
    providers: Providers = field(default_factory=dict)
    failure: str | None = None
    raised: BaseException | None = None

    @property
    def remedy(self) -> str:
        """What to do about a failure."""
        first = "update ovrecipe or the plugin" if self.source.dist else "correct the file"
        if lacks_build_extra(self.raised):
            first = "install ovrecipe[build]"
        return f"{first}, or {self.source.how_to_skip}"

    @property
    def trouble(self) -> str:
        """The failure with its remedy, in one line."""
        return f"{self.source} failed to load: {self.failure}; {self.remedy}"

    def usable(self) -> Any:
        """Return the object.

        Raises:
            PluginError: there is none.
        """
        if self.failure is not None:
            message = f"{self.source} failed to load: {self.failure}"
            raise PluginError(message, remedy=self.remedy) from self.raised
        return self.value


@contextmanager
def at_import(source: PluginSource, slow_seconds: float = 1.0) -> Iterator[None]:
    """Send what a plugin prints to stderr, and say after a second what one is waiting for."""
    words = f"ovrecipe: importing {source} ..."
    notice = threading.Timer(slow_seconds, print, [words], {"file": sys.stderr, "flush": True})
    notice.daemon = True
    notice.start()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        notice.cancel()


def load_one(
    source: PluginSource,
    receive: Callable[[PluginSource, object], tuple[object, Providers]] | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
    slow_seconds: float = 1.0,
) -> Loaded:
    """Import one plugin, and `receive` its hooks; what it raises, but Ctrl-C, is its `failure`."""
    providers: Providers = {}
    start, is_theirs = clock(), False
    try:
        _check_ovrecipe(source)
        with at_import(source, slow_seconds):
            is_theirs = True
            value = source.load()
            is_theirs = False
            if receive is not None and not source.role:
                value, providers = receive(source, value)
    except (PluginError, PluginValidationError) as error:
        said = " ".join(str(error).split())
        return Loaded(source, clock() - start, failure=said, raised=error if is_theirs else None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any error of theirs is listed
        return Loaded(source, clock() - start, failure=one_line(error), raised=error)
    return Loaded(source, clock() - start, value, providers)


def _check_ovrecipe(source: PluginSource) -> None:
    """Raise unless `Requires-Dist` fits: pip lets ovrecipe be downgraded under its plugins."""
    requires = source.dist.requires if source.dist else None
    for line in (line for line in requires or () if line.lower().startswith(PROJECT)):
        from packaging.requirements import InvalidRequirement, Requirement

        with suppress(InvalidRequirement):  # pip took it, so it is pip's to judge
            wanted = Requirement(line)
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            misfits = applies and not fits(__version__, str(wanted.specifier))
            if misfits and wanted.name.lower() == PROJECT:
                this = f"this is {PROJECT} {__version__}"
                raise PluginError(f"needs {PROJECT}{wanted.specifier}, and {this}")
