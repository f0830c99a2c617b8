"""The compressor `budget`: give a size, get the best precision for each layer within it.

The route: `matrices` finds the weights of the base IR, `text` lets the model write a few lines,
`probe` measures how much each matrix matters on them, `formats` says what each precision costs
in bytes and error, `measuring` puts this together once per base, `knapsack` chooses,
`applying` has NNCF write it. `compressor` is the provider that ovrecipe calls.
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
