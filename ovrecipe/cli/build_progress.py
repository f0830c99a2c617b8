"""Live progress of a build on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ovrecipe.build.observer import summary_of

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from ovrecipe import types
    from ovrecipe.store.manifest import Manifest


class LiveObserver:
    """One moving line for each stage at work, one still line for each that is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, TaskID] = {}
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("[dim]{task.fields[message]}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[peak]}"),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Start to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave only the still lines."""
        self._progress.stop()

    def waiting(self, title: str, text: str) -> None:
        """Say that another build is at it."""
        self._console.print(f"[yellow]…[/] {title}  [dim]{text}")

    def started(self, title: str, doing: str) -> None:
        """Add a moving line."""
        self._lines[title] = self._progress.add_task(title, message=doing, peak="", total=None)

    def progress(self, title: str) -> types.Progress:
        """Return what moves the stage's line."""

        def report(
            message: str, *, done: float | None = None, total: float | None = None, unit: str = ""
        ) -> None:
            line = self._lines.get(title)
            if line is not None:
                self._progress.update(line, message=message, completed=done, total=total)

        return report

    def memory(self, title: str, peak_bytes: int) -> None:
        """Show the largest size seen."""
        line = self._lines.get(title)
        if line is not None:
            self._progress.update(line, peak=f"peak {peak_bytes / 1e9:.2f} GB")

    def log_kept(self, title: str, log_path: Path) -> None:
        """Say where the log is, and take the moving line away."""
        self._end(title)
        self._console.print(f"[red]✗[/] {title}  [dim]log: {log_path}")

    def finished(self, title: str, manifest: Manifest) -> None:
        """Replace the moving line by a still one."""
        self._end(title)
        self._console.print(f"[green]✓[/] {title}  [dim]{summary_of(manifest)}")

    def warned(self, title: str, text: str) -> None:
        """Say it above the moving lines."""
        self._console.print(f"{title}: {text}", style="yellow", markup=False)

    def _end(self, title: str) -> None:
        line = self._lines.pop(title, None)
        if line is not None:
            self._progress.remove_task(line)
