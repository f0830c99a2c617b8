"""The recipe's output filters, one behind the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.roles import FilterMaker, OutputFilter
from ovrecipe.recipe.schema import Recipe

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ovrecipe.hooks.plugins import Plugins
    from ovrecipe.hooks.provided import Provided


def filter_stream(
    maker: FilterMaker, options: BaseModel | None, pieces: Iterable[str]
) -> Iterable[str]:
    """Return what a fresh filter, a class or a generator function, makes of pieces of text."""
    make: Any = maker
    if not inspect.isclass(maker):
        shown: Iterable[str] = make(pieces, options)
        return shown
    takes_options = make.__init__ is not object.__init__
    return fed(make(options) if takes_options else make(), pieces)


def fed(output_filter: OutputFilter, pieces: Iterable[str]) -> Iterator[str]:
    """Yield what an object with `feed` and `finish` shows of the pieces."""
    for piece in pieces:
        yield output_filter.feed(piece)
    yield output_filter.finish()


@dataclass(frozen=True)
class ChosenFilter:
    """A filter that the recipe names, with its options validated."""

    provided: Provided[FilterMaker]
    options: BaseModel | None = None

    def over(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield what a fresh filter shows of the pieces.

        Raises:
            PluginError: it raised, or yielded what is no text.
        """
        with self.provided.blamed():
            shown = iter(filter_stream(self.provided.provider, self.options, pieces))
        while True:
            with self.provided.blamed():
                text = next(shown, self)
                if text is self:
                    return
                if not isinstance(text, str):
                    raise TypeError(f"an output filter yields text, not {type(text).__name__}")
            if text:
                yield text


@dataclass(frozen=True)
class FilterChain:
    """Filters, fresh for each text. However it is cut, the joined output is the same."""

    filters: Sequence[ChosenFilter] = ()

    def over(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield what the filters show of the pieces: what one holds back, the next does not see.

        Pieces are asked for one at a time, as the text is read. When they end, each filter shows
        what it held back. `pieces` must not raise errors that are no filter's.
        """
        for chosen in self.filters:
            pieces = chosen.over(pieces)
        return iter(pieces)

    def kept(self) -> FilterChain | None:
        """Return the chain that makes the text of the history; None if that is what is shown."""
        kept = [chosen for chosen in self.filters if not chosen.provided.traits.display_only]
        return FilterChain(kept) if len(kept) < len(self.filters) else None


def chosen_filters(recipe: Recipe, plugins: Plugins) -> FilterChain:
    """Return the recipe's filters in order.

    Raises:
        ProviderUnknown: no plugin has a filter of that name.
        RecipeInvalid: an option is unknown or has a wrong value.
    """
    named = plugins.configured("output_filter", recipe)
    return FilterChain([ChosenFilter(*found) for found in named])
