"""A compressor's job, without a build around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.loading import object_source
from ovrecipe.hooks.manager import Plugins
from ovrecipe.hooks.options import validated
from ovrecipe.hooks.probing import plugin_problems, sample_recipe
from ovrecipe.hooks.roles import CompressionJob
from ovrecipe.hooks.selection import Selection
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.schema import Model
from ovrecipe.run.chain import FilterChain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from ovrecipe.hooks.roles import FilterProvider


def filtered(
    provider: FilterProvider, options: Mapping[str, Any] | None, pieces: Iterable[str]
) -> str:
    """Return what a fresh filter shows for a text that comes in these pieces."""
    name = type(provider).__name__
    made = provider.create(validated(provider, options or {}, where=name))
    chain = FilterChain([made])
    return "".join(chain.feed(each) for each in pieces) + chain.finish()


def assert_chunk_invariant(
    provider: FilterProvider,
    options: Mapping[str, Any] | None = None,
    *,
    alphabet: str = "ab <>/!\n",
    texts: Iterable[str] = (),
    max_examples: int = 200,
) -> None:
    """Assert that a filter shows the same however the text is cut; needs hypothesis.

    Texts are made of `alphabet` and of the strings in `options`, whole and cut short, for that
    is where filters break; `texts` are tried letter by letter.
    """
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    for text in texts:
        _assert_same(provider, options, list(text))
    words = [word[:end] for word in _strings(options) for end in range(1, len(word) + 1)]
    piece = st.one_of(st.sampled_from([*alphabet]), st.sampled_from(words or [*alphabet]))

    @settings(
        max_examples=max_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=st.lists(piece, max_size=24).map("".join), data=st.data())
    def same(text: str, data: st.DataObject) -> None:
        cuts = data.draw(st.sets(st.integers(0, len(text))))
        places = sorted({0, len(text), *cuts})
        _assert_same(provider, options, [text[a:b] for a, b in pairwise(places)])

    same()


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return [text for each in value.values() for text in _strings(each)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _strings(each)]
    return []


def _assert_same(
    provider: FilterProvider, options: Mapping[str, Any] | None, pieces: list[str]
) -> None:
    whole = filtered(provider, options, ["".join(pieces)])
    cut = filtered(provider, options, pieces)
    assert cut == whole, f"cut into {pieces!r} it shows {cut!r}, in one piece {whole!r}"


def assert_plugin_conforms(plugin: object, *, sections: Mapping[str, Any] | None = None) -> None:
    """Fail, with every reason, unless a plugin keeps the contract.

    Hooks are spelt and marked as specified; `provider_names` lists names that are not built in;
    each listed name is answered with an object that fits its role; other names with None.
    `sections` are the plugin's own sections (`plugins:`) of the recipe it is asked with.
    """
    recipe = sample_recipe(sections)
    plugins = plugins_with(plugin)
    [source] = plugins.named
    loaded = plugins.loaded(source)
    problems = plugin_problems(loaded.hooks, recipe) if loaded.failure is None else [loaded.failure]
    assert not problems, f"{source.name} breaks the contract:\n- " + "\n- ".join(problems)


def plugins_with(*plugins: object) -> Plugins:
    """Return the built-in plugin and these modules or objects, and no installed ones."""
    return Plugins(Selection(), find=_nothing, named=[object_source(each) for each in plugins])


def _nothing(group: str) -> Iterable[EntryPoint]:  # noqa: ARG001 - the signature of a finder
    return ()


def compression_job(
    base_dir: Path,
    output_dir: Path,
    *,
    precision: str = "int4",
    input_dir: Path | None = None,
    cache_dir: Path | None = None,
    **knobs: Any,
) -> CompressionJob:
    """Return the job of one pass over a base IR; `knobs` are those of the pass in a recipe.

    `job.compression` is also what `problems` is asked with. The pass before is not run: what it
    would have written is `input_dir`, the base unless given.
    """
    return CompressionJob(
        input_dir=input_dir or base_dir,
        base_dir=base_dir,
        output_dir=output_dir,
        tokenizer_dir=None,
        checkpoint_dir=None,
        dataset_path=None,
        compression=CompressionPass.model_validate(knobs),
        precision=precision,
        model=Model(id="example/model"),
        progress=_silent,
        cache_dir=cache_dir,
    )


def _silent(
    message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
) -> None:
    """Be a progress that nobody watches."""
