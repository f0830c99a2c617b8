"""Finding plugins without importing them, and importing one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ovrecipe.errors import PluginError
from ovrecipe.hooks.checks import HookError, read_hooks, requirement_problem
from ovrecipe.hooks.markers import PROJECT

if TYPE_CHECKING:
    from types import ModuleType

    from pluggy import HookImpl

Origin: TypeAlias = Literal["built-in", "entry point", "file", "module", "object"]
#: Returns the entry points of a group.
EntryPointFinder: TypeAlias = Callable[[str], Iterable[EntryPoint]]


@dataclass(frozen=True)
class PluginSource:
    """Where a plugin comes from; known without importing it.

    `distribution` and `version` are None for a file or module named with `-p`.
    """

    name: str
    origin: Origin
    location: str
    distribution: str | None = None
    version: str | None = None
    requires: tuple[str, ...] = ()
    load: Callable[[], object] = field(compare=False, default=object)

    def __str__(self) -> str:
        """Return `plugin 'awq' (ovrecipe-awq 0.2)`, as every message names it."""
        where = f"{self.distribution} {self.version}" if self.distribution else self.location
        return f"plugin {self.name!r} ({where})"

    def content_digest(self) -> str:
        """Return what stands for a version where there is none: the digest of the code.

        That is the file, or all Python files of a package by their names in it.
        """
        import hashlib

        path = self._code_path()
        if path is None:
            return "unknown"
        digest = hashlib.sha256()
        if path.is_file() and path.name != "__init__.py":
            digest.update(path.read_bytes())
        else:
            folder = path.parent if path.name == "__init__.py" else path
            for each in sorted(folder.rglob("*.py")):
                content = hashlib.sha256(each.read_bytes()).hexdigest()
                digest.update(f"{each.relative_to(folder).as_posix()}\0{content}\n".encode())
        return "sha256:" + digest.hexdigest()

    def _code_path(self) -> Path | None:
        """Return the file, or the folder of a package that has no `__init__.py`."""
        from importlib.util import find_spec

        if self.origin == "file":
            return Path(self.location)
        spec = find_spec(self.location) if self.origin == "module" else None
        if spec is None:
            return None
        places = [each for each in (spec.origin, *(spec.submodule_search_locations or ())) if each]
        return Path(places[0]) if places else None


@dataclass(frozen=True)
class LoadedPlugin:
    """What came of importing a plugin: its hooks, or the reason why it has none.

    `remedy` says what to do about a failure; `details` is the traceback of what was raised.
    """

    source: PluginSource
    seconds: float
    hooks: Mapping[str, HookImpl] = field(default_factory=dict)
    failure: str | None = None
    remedy: str | None = None
    details: str | None = None


def builtin_source(version: str) -> PluginSource:
    """Return the plugin that ovrecipe itself is; it is named, not imported, to keep the layers."""
    entry = EntryPoint(name="builtin", value="ovrecipe.builtin.plugin", group=PROJECT)
    return PluginSource("builtin", "built-in", entry.value, PROJECT, version, load=entry.load)


def installed_entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of every installed distribution; reads metadata of all of them."""
    return entry_points(group=group)


def installed_sources(find: EntryPointFinder, group: str = PROJECT) -> list[PluginSource]:
    """Return what distributions announce, sorted by name and distribution; imports nothing."""
    found = [_entry_point_source(each) for each in find(group)]
    return sorted(found, key=lambda source: (source.name, source.distribution or ""))


def _entry_point_source(entry: EntryPoint) -> PluginSource:
    dist = entry.dist
    return PluginSource(
        name=entry.name,
        origin="entry point",
        location=entry.value,
        distribution=None if dist is None else dist.name,
        version=None if dist is None else dist.version,
        requires=() if dist is None else tuple(dist.requires or ()),
        load=entry.load,
    )


def named_source(option: str) -> PluginSource:
    """Return the plugin that `-p` names: a Python file, or a module to import."""
    if option.endswith(".py") or "/" in option or "\\" in option:
        path = Path(option).absolute()
        name = path.parent.name if path.name == "__init__.py" else path.stem
        return PluginSource(name, "file", str(path), load=lambda: _import_file(path))
    entry = EntryPoint(name=option, value=option, group=PROJECT)
    return PluginSource(option, "module", option, load=entry.load)


def object_source(plugin: object) -> PluginSource:
    """Return a plugin that is imported already, as tests have it."""
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return PluginSource(name, "object", name, load=lambda: plugin)


def _import_file(path: Path) -> ModuleType:
    import sys
    from importlib.util import module_from_spec, spec_from_file_location

    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    name = f"ovrecipe_plugin_{path.stem}"
    spec = spec_from_file_location(name, path)
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


def load_one(
    source: PluginSource, *, ovrecipe_version: str, clock: Callable[[], float] = time.perf_counter
) -> LoadedPlugin:
    """Import one plugin and read its hooks; what it raises becomes its `failure`.

    SystemExit counts as a failure, for a plugin has no say in whether we run; Ctrl-C passes.
    """
    problem = requirement_problem(source.requires, ovrecipe_version)
    if problem is not None:
        return failed(source, 0.0, problem)
    start = clock()
    try:
        hooks = read_hooks(source.load())
    except HookError as error:
        return failed(source, clock() - start, str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any error of theirs is listed
        return failed(source, clock() - start, one_line(error), raised=error)
    return LoadedPlugin(source, clock() - start, hooks=hooks)


def load_object(source: PluginSource, what: str) -> object:
    """Import what an entry point names.

    Raises:
        PluginError: it does not load.
    """
    who = f"the {what} of {source.distribution} {source.version}"
    try:
        return source.load()
    except (Exception, SystemExit) as error:
        loaded = failed(source, 0.0, one_line(error), raised=error)
        raise PluginError(
            f"{who} failed to load: {loaded.failure}", remedy=loaded.remedy
        ) from error


def failed(
    source: PluginSource, seconds: float, reason: str, *, raised: BaseException | None = None
) -> LoadedPlugin:
    """Return a plugin that cannot be used, why, and what to do."""
    import traceback

    skip = f"skip it with -p no:{source.name}" if source.distribution else "leave -p out"
    first = _first_aid(source, raised)
    details = None if raised is None else "".join(traceback.format_exception(raised))
    return LoadedPlugin(
        source, seconds, failure=reason, remedy=f"{first}, or {skip}", details=details
    )


def _first_aid(source: PluginSource, raised: BaseException | None) -> str:
    if isinstance(raised, ModuleNotFoundError) and _is_of_build(raised.name or ""):
        return "install ovrecipe[build]"
    return "update ovrecipe or the plugin" if source.distribution else "correct the file"


#: What only `ovrecipe[build]` brings.
_BUILD_MODULES = ("nncf", "optimum", "torch", "transformers", "huggingface_hub")


def _is_of_build(module: str) -> bool:
    return module.partition(".")[0] in _BUILD_MODULES


def one_line(error: BaseException) -> str:
    """Return `ImportError: no module named 'nncf'`, without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def call(impl: HookImpl, arguments: Mapping[str, Any]) -> Any:
    """Call one implementation with the arguments that it asks for."""
    return impl.function(*(arguments[name] for name in impl.argnames))
