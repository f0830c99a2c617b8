"""The recipe's output filters, one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError, PluginError
from ovrecipe.hooks.options import validated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel

    from ovrecipe.hooks.manager import Plugins
    from ovrecipe.hooks.roles import FilterProvider, OutputFilter
    from ovrecipe.recipe.schema import FilterSpec, Recipe


@dataclass(frozen=True)
class ChosenFilter:
    """A filter that the recipe names, with its options validated."""

    name: str
    provider: FilterProvider
    options: BaseModel | None

    def create(self) -> tuple[str, OutputFilter]:
        """Return the name and a fresh filter, for one generation."""
        return self.name, _guarded(self.name, lambda: self.provider.create(self.options))


class FilterChain:
    """The filters of one generation. However the text is cut, the joined output is the same."""

    def __init__(self, filters: Sequence[tuple[str, OutputFilter]] = ()) -> None:
        self._filters = tuple(filters)

    def feed(self, text: str) -> str:
        """Pass a piece through all filters; what one holds back does not reach the next."""
        return self._from(0, text)

    def finish(self) -> str:
        """End the filters from the first to the last; what one held back goes to the next."""
        shown: list[str] = []
        for index, (name, each) in enumerate(self._filters):
            shown.append(self._from(index + 1, _guarded(name, each.finish)))
        return "".join(shown)

    def _from(self, index: int, text: str) -> str:
        for name, each in self._filters[index:]:
            if not text:
                return ""
            text = _fed(name, each, text)
        return text


def _fed(name: str, output_filter: OutputFilter, text: str) -> str:
    shown = _guarded(name, lambda: output_filter.feed(text))
    if not isinstance(shown, str):
        raise PluginError(f"output filter '{name}': returned {type(shown).__name__}, not a text")
    return shown


def _guarded(name: str, call: Callable[[], Any]) -> Any:
    """Run a plugin's code; what it raises names the filter."""
    try:
        return call()
    except OvrecipeError:
        raise
    except Exception as exc:
        raise PluginError(
            f"output filter '{name}': {type(exc).__name__}: {exc}",
            remedy="the filter has a defect; leave it out of 'output.filters' to see the raw text",
        ) from exc


def chosen_filters(recipe: Recipe, plugins: Plugins) -> tuple[ChosenFilter, ...]:
    """Return the recipe's filters in order.

    Raises:
        ProviderUnknown: no plugin has a filter of that name.
        RecipeInvalid: an option is unknown or has a wrong value.
    """
    return tuple(_chosen(spec, recipe, plugins) for spec in recipe.output.filters)


def _chosen(spec: FilterSpec, recipe: Recipe, plugins: Plugins) -> ChosenFilter:
    provider = plugins.provider("output_filter", spec.name, recipe).provider
    where = f"{recipe.path.name}: output.filters.{spec.name}"
    return ChosenFilter(spec.name, provider, validated(provider, spec.options, where=where))
