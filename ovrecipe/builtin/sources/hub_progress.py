"""A progress bar for huggingface_hub that draws nothing and tells our own progress."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import Progress


def progress_bar(progress: Progress) -> Any:
    """Return a tqdm class whose byte counts go to `progress`."""
    from tqdm.std import tqdm  # type: ignore[import-untyped]

    class ReportedBar(tqdm):  # type: ignore[misc]
        """Counts as tqdm does, at its pace; the bar that counts files stays silent."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
            if self.unit == "B":
                progress("downloading", done=self.n, total=self.total or None)

    return ReportedBar
