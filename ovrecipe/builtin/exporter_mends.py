"""What optimum-intel does wrongly for some architectures, mended while they are exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

#: What the experts of AFMoE are traced with: halves of one weight, taken as views.
EXPERTS = ("gate_projs", "up_projs", "down_projs")


def mended(model_type: str) -> AbstractContextManager[None]:
    """Return within what an architecture is exported."""
    return MENDS.get(model_type, nullcontext)()


@contextmanager
def _whole_experts() -> Iterator[None]:
    """Give OpenVINO whole tensors: of a view in 16 bits it reads bytes of other experts, or NaN.

    Seen with AFMoE, whose logits are none without this and equal torch's to 3e-6 with it
    (optimum-intel 2.2, OpenVINO 2026.4).
    """
    from optimum.exporters.openvino import model_patcher

    patcher = model_patcher.AfmoeModelPatcher
    enter: Callable[[Any], Any] = patcher.__enter__
    kept: list[Any] = []

    def entered(self: Any) -> Any:
        found = enter(self)
        for layer in self._model.model.layers:
            for name in EXPERTS if layer.moe_enabled else ():
                kept.append(getattr(layer.mlp, name).contiguous())
                setattr(layer.mlp, name, kept[-1])
        return found

    patcher.__enter__ = entered
    try:
        yield
    finally:
        patcher.__enter__ = enter


@contextmanager
def _no_newest() -> Iterator[None]:
    """Take away a newest transformers older than the oldest, which Gemma 4 has from Gemma.

    With it optimum-intel 2.2 exports Gemma 4's text model with none at all.
    """
    from optimum.exporters.openvino import model_configs

    config = model_configs.Gemma4TextOpenVINOConfig
    config.MAX_TRANSFORMERS_VERSION = None
    try:
        yield
    finally:
        del config.MAX_TRANSFORMERS_VERSION


#: By architecture.
MENDS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "afmoe": _whole_experts,
    "gemma4_text": _no_newest,
}
