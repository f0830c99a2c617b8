"""The compressor `budget`: give a size, get the best precision for each layer within it.

The route: `matrices` finds the weights of the base IR, `text` lets the model write a few lines,
`probe` measures how much each matrix matters on them, `formats` says what each precision costs
in bytes and error, `measuring` puts this together once per base, `knapsack` chooses,
`applying` has NNCF write it. `compressor` is the provider that ovrecipe calls.
"""

from __future__ import annotations

from ovrecipe_budget.compressor import BudgetCompressor

__all__ = ["BudgetCompressor"]
