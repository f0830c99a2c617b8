"""The default providers, written as those of any plugin; this table stands for their entry points.

Nothing is imported here: a provider's module is imported when its name is asked for, and the
libraries it needs when it works.
"""

from collections.abc import Mapping

from ovrecipe.hooks.roles import Role

#: Role, then name, then module and object.
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
    "evaluator": {"divergence": "ovrecipe.measure.divergence:DivergenceEvaluator"},
    "output_filter": {
        "strip_markers": "ovrecipe.builtin.filters:strip_markers",
        "stop_at": "ovrecipe.builtin.filters:stop_at",
        "hide_reasoning": "ovrecipe.builtin.filters:hide_reasoning",
    },
    "frontend": {
        "console": "ovrecipe.builtin.frontends:ConsoleFrontend",
        "json": "ovrecipe.builtin.frontends:JsonFrontend",
        "jsonl": "ovrecipe.builtin.frontends:JsonlFrontend",
        "quiet": "ovrecipe.builtin.frontends:QuietFrontend",
    },
}
