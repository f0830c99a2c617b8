"""The built-in plugin: the default provider of every role, through the hooks of any plugin.

Nothing heavy is imported here: a provider's module is imported when its name is asked for, and
the libraries it needs when it works.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ovrecipe.hooks.markers import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovrecipe.hooks.roles import (
        Compressor,
        Evaluator,
        Exporter,
        FilterProvider,
        Frontend,
        Role,
        Source,
        TokenizerConverter,
    )

#: Where the providers live: role, then name, then module and class.
PROVIDERS: Mapping[Role, Mapping[str, str]] = {
    "source": {
        "hub": "ovrecipe.builtin.hub:HubSource",
        "local": "ovrecipe.builtin.local:LocalSource",
        "gguf": "ovrecipe.builtin.gguf:GgufSource",
        "dist": "ovrecipe.builtin.gguf:DistributionSource",
    },
    "exporter": {"optimum": "ovrecipe.builtin.exporter:OptimumExporter"},
    "tokenizer_converter": {"openvino": "ovrecipe.builtin.tokenizer:OpenvinoTokenizerConverter"},
    "compressor": {
        "nncf": "ovrecipe.builtin.nncf:NncfCompressor",
        "fp16": "ovrecipe.builtin.fp16:Fp16Compressor",
    },
    "evaluator": {"divergence": "ovrecipe.builtin.divergence:DivergenceEvaluator"},
    "output_filter": {
        "strip_markers": "ovrecipe.builtin.filters:StripMarkers",
        "stop_at": "ovrecipe.builtin.filters:StopAt",
        "hide_reasoning": "ovrecipe.builtin.filters:HideReasoning",
    },
    "frontend": {
        "console": "ovrecipe.builtin.frontends:ConsoleFrontend",
        "jsonl": "ovrecipe.builtin.frontends:JsonlFrontend",
        "quiet": "ovrecipe.builtin.frontends:QuietFrontend",
    },
}


@hookimpl
def provider_names(role: Role) -> Sequence[str]:
    """Name the built-in providers of a role."""
    return list(PROVIDERS.get(role, ()))


@hookimpl
def get_source(name: str) -> Source | None:
    """Return the source of a built-in scheme."""
    found: Source | None = _made("source", name)
    return found


@hookimpl
def get_exporter(name: str) -> Exporter | None:
    """Return optimum-intel's exporter."""
    found: Exporter | None = _made("exporter", name)
    return found


@hookimpl
def get_tokenizer_converter(name: str) -> TokenizerConverter | None:
    """Return openvino-tokenizers' converter."""
    found: TokenizerConverter | None = _made("tokenizer_converter", name)
    return found


@hookimpl
def get_compressor(name: str) -> Compressor | None:
    """Return NNCF's compressor, or the one that writes FP16."""
    found: Compressor | None = _made("compressor", name)
    return found


@hookimpl
def get_evaluator(name: str) -> Evaluator | None:
    """Return the evaluator that compares a variant with its base."""
    found: Evaluator | None = _made("evaluator", name)
    return found


@hookimpl
def get_output_filter(name: str) -> FilterProvider | None:
    """Return a built-in filter's provider."""
    found: FilterProvider | None = _made("output_filter", name)
    return found


@hookimpl
def get_frontend(name: str) -> Frontend | None:
    """Return a built-in frontend."""
    found: Frontend | None = _made("frontend", name)
    return found


def _made(role: Role, name: str) -> Any:
    """Import and make a provider, or return None when the name is not ours."""
    where = PROVIDERS[role].get(name)
    if where is None:
        return None
    module, _, class_name = where.partition(":")
    return getattr(import_module(module), class_name)()
