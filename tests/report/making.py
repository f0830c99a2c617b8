"""A report's document as `report_of` makes it, without a model."""

from __future__ import annotations

from typing import Any

KEY = "0123456789abcdef" * 4


def variant(name: str, size_bytes: int, mean_kl: float, **changes: Any) -> dict[str, Any]:
    """Return a variant with all figures."""
    kind = "u4" if name.startswith("int4") else "u8"
    inner = [{"layer": str(number), "weights": {kind: 3_000_000}} for number in range(6)]
    return {
        "variant": name,
        "precision": name.partition("-")[0],
        "state": "accepted",
        "weights_bytes": size_bytes,
        "size_bytes": size_bytes + 1_000_000,
        "ratio": 269_000_000 / size_bytes,
        "seconds": 12.3,
        "peak_memory_bytes": 590_000_000,
        "objections": [],
        "quality": {
            "mean_kl": mean_kl,
            "mean_kl_error": mean_kl / 10,
            "same_top": 0.95,
            "perplexity_ratio": 1.02,
            "perplexity_ratio_error": 0.01,
            "tokens": 188,
        },
        "on_front": True,
        "attention_backend": "PA",
        "answer": "The capital of France is Paris.",
        "rendered_otherwise": [],
        "settings": {"precision": name},
        "layers": [{"layer": "embedding", "weights": {"u8": 28_000_000}}, *inner],
        **changes,
    }


def document(**changes: Any) -> dict[str, Any]:
    """Return a report of two variants that are built and one that is not."""
    return {
        "schema": 1,
        "name": "smollm2-135m",
        "description": "A small model",
        "created": "2026-11-26T03:00:00+00:00",
        "recipe": {"model": {"id": "org/model"}, "variants": {"int4": {"group_size": 64}}},
        "source": {"model": "org/model", "pin": {"commit": "c" * 40}},
        "reference": {"by": "the checkpoint"},
        "question": "What is the capital of France?",
        "answer_tokens": 16,
        "variants": [
            variant("int8", 135_000_000, 0.0041),
            variant("int4", 86_000_000, 0.37),
            {"variant": "int4-npu", "state": "not built", "quality": {}},
        ],
        "speed": [],
        "versions": {"nncf": ["3.4.0"], "ovrecipe": ["0.1.0"]},
        "commands": ["pip install nncf==3.4.0", "ovrecipe build smollm2-135m:int4"],
        "artifacts": [
            {
                "stage": "weights",
                "made_for": "smollm2-135m:int4",
                "sha256": KEY,
                "created": "2026-11-26T02:00:00+00:00",
                "seconds": 12.3,
                "peak_memory_bytes": 590_000_000,
                "inputs": [],
                "files": {"openvino_model.bin": {"size_bytes": 86_000_000, "sha256": KEY}},
            }
        ],
        **changes,
    }
