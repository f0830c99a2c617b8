"""Checks for tests of plugins: the contract, imports, a filter's cuts; a job without a build."""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

from ovrecipe.errors import PluginError
from ovrecipe.hooks.listing import ask_all, plugin_facts, sample_recipe
from ovrecipe.hooks.loading import installed_entry_points, object_source
from ovrecipe.hooks.plugins import Plugins
from ovrecipe.hooks.provided import provider_problems, validated
from ovrecipe.hooks.roles import CompressionJob, FilterMaker
from ovrecipe.hooks.specs import hookimpl
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.run.chain import filter_stream

#: Modules and names that stay from release to release; `docs/plugins.md` has the same list.
PUBLIC = (
    "ovrecipe",
    "ovrecipe.errors",
    "ovrecipe.hooks.roles",
    "ovrecipe.types",
    "ovrecipe.recipe.schema.Recipe",
    "ovrecipe.recipe.sections.Objection",
    "ovrecipe.recipe.sections.Section",
    "ovrecipe.cli.session.Session",
    "ovrecipe.cli.session.session_of",
    "ovrecipe.cli.completion.recipe_argument",
)
PUBLIC_IN_TESTS = (*PUBLIC, "ovrecipe.testing")


def filtered(maker: FilterMaker, options: Mapping[str, Any] | None, pieces: Iterable[str]) -> str:
    """Return what a fresh filter, a class or a function, shows for a text in these pieces.

    Raises:
        PluginError: it is no filter.
    """
    if problems := provider_problems("output_filter", maker):
        raise PluginError(f"{maker!r} is no output filter: {'; '.join(problems)}")
    given = validated(getattr(maker, "options_model", None), options or {})
    return "".join(filter_stream(maker, given, pieces))


def assert_chunk_invariant(
    maker: FilterMaker,
    options: Mapping[str, Any] | None = None,
    *,
    alphabet: str = "ab <>/!\n",
    texts: Iterable[str] = (),
    max_examples: int = 200,
) -> None:
    """Assert that a filter shows the same however the text is cut; needs hypothesis.

    `texts` are cut letter by letter and at random, alone and among others. Other texts are made of
    `alphabet` and of the strings in `options`, whole and cut short, for that is where filters
    break. One text at least must be changed by the filter, or nothing was tried.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    own = list(texts)
    changed = [_same(maker, options, list(text)) != text for text in own]
    words = [word[:end] for word in _strings(options) for end in range(1, len(word) + 1)]
    part = st.sampled_from([*alphabet])
    part = st.one_of(part, *(st.sampled_from(some) for some in (words, own) if some))

    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=st.lists(part, max_size=24).map("".join), data=st.data())
    def same(text: str, data: st.DataObject) -> None:
        cuts = data.draw(st.sets(st.integers(0, len(text))))
        places = sorted({0, len(text), *cuts})
        shown = _same(maker, options, [text[a:b] for a, b in pairwise(places)])
        changed.append(shown != text)

    same()
    assert any(changed), "none of the texts triggers the filter: give texts=[...] that it changes"


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value
    if not isinstance(inside, Iterable):
        return []
    return [text for inner in inside for text in _strings(inner)]


def _same(maker: FilterMaker, options: Mapping[str, Any] | None, pieces: list[str]) -> str:
    """Return what is shown of the text in one piece, which is the same for these."""
    whole = filtered(maker, options, ["".join(pieces)])
    cut = filtered(maker, options, pieces)
    assert cut == whole, f"cut into {pieces!r} it shows {cut!r}, in one piece {whole!r}"
    return whole


def assert_plugin_conforms(
    *plugins: object, sections: Mapping[str, Any] | None = None, **providers: Mapping[str, object]
) -> None:
    """Fail, with every reason, unless plugins keep the contract.

    A plugin is a module or object with hooks, or the name of an installed distribution, whose
    entry points are looked at; `role={name: object}` gives providers alone. Each is imported and
    asked for everything that it has. `sections` are its own (`plugins:`) of the recipe.
    """
    distributions = {plugin for plugin in plugins if isinstance(plugin, str)}
    objects = [plugin for plugin in plugins if not isinstance(plugin, str)]

    def find() -> Iterable[EntryPoint]:
        return [p for p in installed_entry_points() if p.dist and p.dist.name in distributions]

    tried = Plugins(env={}, find=find, named=_sources(objects, providers))
    found = plugin_facts(tried)[1:]
    ask_all(tried, found, sample_recipe(sections))
    problems = [f"{lost.source}: {lost.failure}" for facts in found for lost in facts.failed]
    problems += [f"{facts.name}: {problem}" for facts in found for problem in facts.problems]
    missing = distributions - {facts.name for facts in found}
    problems += [f"{name}: no entry points; is it installed?" for name in sorted(missing)]
    assert not problems, "the contract is broken:\n- " + "\n- ".join(problems)


def plugins_with(*plugins: object, **providers: Mapping[str, object]) -> Plugins:
    """Return what is built in and these, and no installed plugins.

    `plugins` are modules or objects with hooks, `role={name: object}` gives providers alone.
    """
    return Plugins(env={}, find=list, named=_sources(plugins, providers))


@dataclass(eq=False)
class _Given:
    given: Mapping[str, Mapping[str, object]]

    @hookimpl
    def providers(self) -> Mapping[str, Mapping[str, object]]:
        return self.given


def _sources(plugins: Iterable[object], providers: Mapping[str, Mapping[str, object]]) -> Any:
    given = [_Given(providers)] if providers else []
    return [object_source(plugin) for plugin in (*plugins, *given)]


def compression_job(
    base_dir: Path,
    output_dir: Path,
    *,
    precision: str = "int4",
    input_dir: Path | None = None,
    cache_dir: Path | None = None,
    options_model: Any = None,
    **knobs: Any,
) -> CompressionJob:
    """Return the job of one pass over a base IR; `knobs` are those of the pass in a recipe.

    With `options_model`, `options` among them become `job.options`. `job.compression` is also what
    `problems` is asked with. The pass before is not run: what it would have written is
    `input_dir`, the base unless given.
    """
    return CompressionJob(
        input_dir=input_dir or base_dir,
        base_dir=base_dir,
        output_dir=output_dir,
        compression=CompressionPass.model_validate(knobs),
        precision=precision,
        recipe=sample_recipe(),
        options=validated(options_model, knobs.get("options", {})) if options_model else None,
        cache_dir=cache_dir,
    )


def assert_imports_public_names(package: ModuleType, *, tests_dir: Path | None = None) -> None:
    """Fail, with every place, unless a plugin imports public names of ovrecipe only.

    All others may change with any release. Tests in `tests_dir` may import `ovrecipe.testing` too.
    """
    assert package.__file__ is not None, f"{package.__name__} has no file"
    path = Path(package.__file__)
    sources = path.parent.rglob("*.py") if hasattr(package, "__path__") else [path]
    tests = tests_dir.rglob("*.py") if tests_dir is not None else ()
    problems = [
        f"{path}:{line}: {name}"
        for paths, public in ((sources, PUBLIC), (tests, PUBLIC_IN_TESTS))
        for path in sorted(paths)
        for line, name in private_imports(path.read_text(encoding="utf-8"), public)
    ]
    assert not problems, "not public (docs/plugins.md lists what is):\n- " + "\n- ".join(problems)


def private_imports(source: str, public: Collection[str] = PUBLIC) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of what a text imports of ovrecipe and is not public."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module, names, level=0):
                found = [f"{module}.{alias.name}" for alias in names]
            case _:
                continue
        for name in found:
            if name.split(".")[0] == "ovrecipe" and not _is_public(name, public):
                yield node.lineno, name


def _is_public(name: str, public: Collection[str]) -> bool:
    module, _, last = name.rpartition(".")
    if name in public or module not in public:
        return name in public
    # A package has modules that are not public, and its own list of what is.
    home = import_module(module)
    return last in dir(home) or not hasattr(home, "__path__")
