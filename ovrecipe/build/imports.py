"""What a stage's process does not import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from types import ModuleType


def keep_torch_out(modules: MutableMapping[str, ModuleType], providers: Iterable[object]) -> None:
    """Make torch impossible to import in this process when no provider at work needs it.

    transformers and NNCF import it whenever they can. Without it a tokenizer takes 2.7 s and
    0.2 GB instead of 6.6 s and 0.95 GB, and importing NNCF 1.0 s and 0.1 GB instead of 3.2 s and
    0.6 GB (SmolLM2; transformers 5.5, NNCF 3.4, torch 2.15).
    """
    if not any(getattr(each, "needs_torch", True) for each in providers):
        modules.setdefault("torch", None)  # type: ignore[arg-type]
