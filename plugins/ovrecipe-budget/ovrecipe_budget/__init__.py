"""The compressor `budget`: give a size, get the best precision for each layer within it.

The route: `matrices` finds the weights of the base IR, `probe` compiles it with a knob on each of
them, `sensitivity` lets it write a few lines and turns the knobs on them, `formats` says what each
precision costs in bytes and error, `measuring` puts this together once per base, `knapsack`
chooses, `applying` has NNCF write it. `compressor` is the provider that ovrecipe calls, `options`
its options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe import hookimpl
from ovrecipe_budget.compressor import NAME, BudgetCompressor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovrecipe.hooks.roles import Role

__all__ = ["BudgetCompressor"]


@hookimpl
def provider_names(role: Role) -> Sequence[str]:
    """Name the compressors of this plugin."""
    return [NAME] if role == "compressor" else []


@hookimpl
def get_compressor(name: str) -> BudgetCompressor | None:
    """Return who compresses the weights."""
    return BudgetCompressor() if name == NAME else None
