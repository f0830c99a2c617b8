"""Live progress of a build on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ovrecipe.build.events import (
    Failed,
    Finished,
    LogKept,
    MemorySeen,
    Progressed,
    Started,
    Waiting,
    Warned,
    summary_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ovrecipe.build.events import Event


class Live:
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

    def __call__(self, event: Event) -> None:
        """Draw what happened."""
        match event:
            case Waiting(title, text) | Warned(title, text):
                self._console.print(f"{title}: {text}", style="yellow", markup=False)
            case Started(title, doing):
                self._lines[title] = self._progress.add_task(
                    title, message=doing, peak="", total=None
                )
            case Progressed(title, message, done, total):
                self._update(title, message=message, completed=done, total=total)
            case MemorySeen(title, peak_bytes):
                self._update(title, peak=f"peak {peak_bytes / 1e9:.2f} GB")
            case LogKept(title, log_path):
                self._console.print(f"[red]✗[/] {title}  [dim]log: {log_path}")
            case Finished(title, manifest):
                self._end(title)
                self._console.print(f"[green]✓[/] {title}  [dim]{summary_of(manifest)}")
            case Failed(title):
                self._end(title)

    def _update(self, title: str, **fields: Any) -> None:
        line = self._lines.get(title)
        if line is not None:
            self._progress.update(line, **fields)

    def _end(self, title: str) -> None:
        line = self._lines.pop(title, None)
        if line is not None:
            self._progress.remove_task(line)
