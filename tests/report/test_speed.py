"""What `ovrecipe bench` has measured stands in the report."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ovrecipe.errors import ProjectError
from ovrecipe.report.render import to_html, to_markdown
from ovrecipe.report.speed import measurements
from tests.report.making import document

COLUMNS = ("measured", "machine", "target", "device", "engine", "settings", "artifact", "versions",
           "series", "figures")  # fmt: skip


def write_history(path: Path, *runs: dict[str, Any], version: int = 1) -> Path:
    """Write runs as `ovrecipe bench` does, the oldest first."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA user_version = {version}")
        database.execute(f"CREATE TABLE runs (id INTEGER PRIMARY KEY, {', '.join(COLUMNS)})")
        places = ", ".join(f":{name}" for name in COLUMNS)
        query = f"INSERT INTO runs ({', '.join(COLUMNS)}) VALUES ({places})"
        database.executemany(query, runs)
    return path


def run(figures: dict[str, float], **changes: Any) -> dict[str, Any]:
    """Return a run of int4 on the CPU."""
    return {
        "measured": "2026-11-26T03:00:00+00:00",
        "machine": "CPU of some kind, 2 cores",
        "target": "smollm2-135m:int4",
        "device": "CPU",
        "engine": "ovrecipe",
        "settings": "{}",
        "artifact": "a",
        "versions": "{}",
        "series": 1,
        **changes,
        "figures": json.dumps(figures),
    }


def test_without_a_history_nothing_was_measured(tmp_path: Path) -> None:
    """And the page says how to measure."""
    assert measurements(tmp_path / "bench.sqlite", {"a"}) == []
    assert "No measurements yet: <code>ovrecipe bench" in to_html(document())
    assert "No measurements yet: `ovrecipe bench" in to_markdown(document())


def test_repeats_become_a_median_and_its_spread(tmp_path: Path) -> None:
    """One slow run is no figure."""
    runs = [run({"ttft_ms@32": value}) for value in (10.0, 11.0, 90.0)]
    [one] = measurements(write_history(tmp_path / "bench.sqlite", *runs), {"a"})
    assert one["figures"] == {"ttft_ms@32": {"median": 11.0, "spread": 1.0, "runs": 3}}
    assert (one["target"], one["device"]) == ("smollm2-135m:int4", "CPU")


def test_only_the_newest_series_counts_and_only_of_these_artifacts(tmp_path: Path) -> None:
    """What was measured before another build, or anew, is history."""
    history = write_history(
        tmp_path / "bench.sqlite",
        run({"tpot_ms@32": 1.0}, artifact="older"),
        run({"tpot_ms@32": 50.0, "load_time_ms": 900.0}),
        run({"tpot_ms@32": 7.0}, series=2),
        run({"ttft_ms@64": 30.0}, settings='{"prompt_tokens": [64]}'),
        run({"tpot_ms@32": 9.0}, device="GPU"),
    )
    cpu, gpu = measurements(history, {"a"})
    medians = {name: summary["median"] for name, summary in cpu["figures"].items()}
    assert medians == {"tpot_ms@32": 7.0, "load_time_ms": 900.0, "ttft_ms@64": 30.0}
    assert gpu["figures"]["tpot_ms@32"]["median"] == 9.0


@pytest.mark.parametrize("content", [b"no database at all, but text", b""])
def test_a_file_that_is_no_history_is_named(tmp_path: Path, content: bytes) -> None:
    """The report has no figures of a file that it cannot read, and says so."""
    path = tmp_path / "bench.sqlite"
    path.write_bytes(content)
    with pytest.raises(ProjectError, match="the history of measurements cannot be read"):
        measurements(path, {"a"})


def test_a_history_of_a_newer_ovrecipe_is_not_guessed_at(tmp_path: Path) -> None:
    """Its columns may mean something else."""
    with pytest.raises(ProjectError, match="was written by a newer ovrecipe"):
        measurements(write_history(tmp_path / "bench.sqlite", version=2), {"a"})


def test_figures_are_in_a_table_and_drawn_over_the_prompt_and_the_batch(tmp_path: Path) -> None:
    """A single length has no line."""
    figures = {"ttft_ms@32": 20.0, "ttft_ms@512": 290.0, "tpot_ms@32": 7.2, "throughput@1": 74.0,
               "throughput@4": 341.0, "peak_memory_bytes": 450e6}  # fmt: skip
    history = write_history(
        tmp_path / "bench.sqlite",
        run(figures),
        run(figures, engine="llama-cpp", target="smollm2-135m"),
    )
    shown = document(speed=measurements(history, {"a"}))
    page, text = to_html(shown), to_markdown(shown)
    assert "First token: int4 on CPU: 32: 20, 512: 290; source on CPU by llama-cpp: 32:" in page
    assert "Throughput: int4 on CPU: 1: 74, 4: 341" in page
    assert "Time a token: " not in page
    assert "| what | first token after 32, ms | first token after 512, ms |" in text.replace(
        "\\", ""
    )
    assert "| int4 on CPU | 20.0 ± 0.0 | 290.0 ± 0.0 | 7.2 ± 0.0 | 74.0 ± 0.0 |" in text
