"""The compressor `budget`: give a size, get the best precision for each layer within it.

The route: `matrices` finds the weights of the base IR, `probe` compiles it with a knob on each of
them, `sensitivity` lets it write a few lines and turns the knobs on them, `formats` says what each
precision costs in bytes and error, `measuring` puts this together once per base, `knapsack`
chooses, `applying` has NNCF write it. `compressor` is the provider that ovrecipe calls, `options`
its options.
"""

from __future__ import annotations

from ovrecipe_budget.compressor import BudgetCompressor

__all__ = ["BudgetCompressor"]
