"""The recipe's output filters, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovrecipe.hooks.options import validated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.hooks.roles import FilterProvider, OutputFilter
    from ovrecipe.recipe.schema import ProviderSpec, Recipe


@dataclass(frozen=True)
class ChosenFilter:
    """A filter that the recipe names, with its options validated."""

    provided: Provided[FilterProvider]
    options: BaseModel | None

    def create(self) -> OutputFilter:
        """Return a fresh filter for one generation; what it raises names its plugin."""
        with self.provided.blamed():
            return BlamedFilter(self.provided, self.provided.provider.create(self.options))


class BlamedFilter:
    """A filter whose mistakes are errors that name its plugin."""

    def __init__(self, provided: Provided[FilterProvider], output_filter: OutputFilter) -> None:
        self._provided = provided
        self._filter = output_filter

    def feed(self, text: str) -> str:
        """Return what the filter shows of the next piece."""
        with self._provided.blamed():
            return _text(self._filter.feed(text))

    def finish(self) -> str:
        """Return what the filter held back."""
        with self._provided.blamed():
            return _text(self._filter.finish())


def _text(shown: object) -> str:
    if not isinstance(shown, str):
        raise TypeError(f"an output filter returns text, not {type(shown).__name__}")
    return shown


class FilterChain:
    """The filters of one generation. However the text is cut, the joined output is the same."""

    def __init__(self, filters: Sequence[OutputFilter] = ()) -> None:
        self._filters = tuple(filters)

    def feed(self, text: str) -> str:
        """Pass a piece through all filters; what one holds back does not reach the next."""
        return self._from(0, text)

    def finish(self) -> str:
        """End the filters from the first to the last; what one held back goes to the next."""
        held_back = (
            self._from(index + 1, each.finish()) for index, each in enumerate(self._filters)
        )
        return "".join(held_back)

    def _from(self, index: int, text: str) -> str:
        for each in self._filters[index:]:
            if not text:
                return ""
            text = each.feed(text)
        return text


def chosen_filters(recipe: Recipe, plugins: Plugins) -> tuple[ChosenFilter, ...]:
    """Return the recipe's filters in order.

    Raises:
        ProviderUnknown: no plugin has a filter of that name.
        RecipeInvalid: an option is unknown or has a wrong value.
    """
    return tuple(_chosen(spec, recipe, plugins) for spec in recipe.output.filters)


def _chosen(spec: ProviderSpec, recipe: Recipe, plugins: Plugins) -> ChosenFilter:
    provided = plugins.provider("output_filter", spec.name, recipe)
    where = f"{recipe.path.name}: output.filters.{spec.name}"
    return ChosenFilter(provided, validated(provided.provider, spec.options, where=where))
