"""Figures of a report as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ovrecipe.wording import amount, nats

#: Manifests keep six digits of a divergence.
LEAST_KL = 1e-6
#: What a figure is called; `at` is a number of prompt tokens, or of sequences at once.
HEADINGS = {
    "load_time_ms": "load, ms",
    "ttft_ms": "first token after {at}, ms",
    "tpot_ms": "time a token after {at}, ms",
    "throughput": "tokens/s, {at} at once",
    "peak_memory_bytes": "peak memory",
}
#: The engine that is no peer.
OURS = "ovrecipe"


def megabytes(variant: Mapping[str, Any]) -> float:
    """Return the size of a variant's weights."""
    return float(variant["weights_bytes"] / 1e6)


def size_text(variant: Mapping[str, Any]) -> str:
    """Return `85.8 MB, 3.13x smaller`."""
    ratio = variant["ratio"]
    smaller = f", {ratio:.2f}x smaller" if ratio and round(ratio, 2) != 1 else ""
    return amount(variant["weights_bytes"]) + smaller


def divergence(quality: Mapping[str, Any]) -> str:
    """Return `0.066 ± 0.01 nats`."""
    if "mean_kl" not in quality:
        return "no number"
    mean, error = quality["mean_kl"], quality.get("mean_kl_error", 0.0)
    return f"{nats(mean)} ± {error:.1g} nats" if error >= LEAST_KL else f"{nats(mean)} nats"


def layer_counts(layers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return in how many layers each dtype has weights, the commonest first."""
    counts = Counter(kind for one in layers for kind in one["weights"])
    return dict(counts.most_common())


def heading(figure: str) -> str:
    """Return what a table calls `ttft_ms@512`."""
    name, _, at = figure.partition("@")
    return HEADINGS.get(name, figure).format(at=at)


def value_text(figure: str, summary: Mapping[str, float]) -> str:
    """Return `20.4 ± 0.3`, or bytes as people read them."""
    if figure.endswith("_bytes"):
        return amount(summary["median"])
    return f"{summary['median']:.1f} ± {summary['spread']:.1f}"


def title(measured: Mapping[str, Any]) -> str:
    """Return who was measured where: `int4 on CPU`, `source on CPU by llama-cpp`."""
    variant, engine = measured["target"].partition(":")[2] or "source", measured["engine"]
    return f"{variant} on {measured['device']}" + (f" by {engine}" if engine != OURS else "")
