"""The contract of output filters, as a check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.options import validated
from ovrecipe.run.chain import FilterChain

if TYPE_CHECKING:
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
