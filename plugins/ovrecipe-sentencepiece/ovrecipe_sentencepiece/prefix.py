"""The space before a text: where SentencePiece and the checkpoint's tokenizer.json differ.

SentencePiece puts a space before every text it is given, and so before what follows a special
token. So does a tokenizer.json that has a "Prepend" normalizer. One with a "Metaspace"
pre-tokenizer puts none where there is one already, and with "first" none after special tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MARK = "▁"


def prefix_pattern(tokenizer: Any) -> str | None:
    """Return what gets a space before it, for PCRE2; None to leave that to SentencePiece."""
    parts = _parts(_settings(tokenizer)["pre_tokenizer"], "pretokenizers")
    scheme = next((part["prepend_scheme"] for part in parts if part["type"] == "Metaspace"), None)
    if scheme not in {"first", "always"}:
        return None
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    texts = [re.escape(text) for text in sorted(added, key=len, reverse=True)]
    begins = r"\A" if scheme == "first" else "|".join([r"\A", *(f"(?<={text})" for text in texts)])
    no_token = f"(?!{'|'.join(texts)})" if texts else ""
    return f"(?:{begins}){no_token}([^ {MARK}])"


def with_prefix(text: Any, pattern: str) -> Any:
    """Put a space into a graph's text where the pattern says."""
    from openvino import opset15 as ops
    from openvino_tokenizers.tokenizer_pipeline import RegexNormalizationStep

    step = RegexNormalizationStep(regex_search_pattern=pattern, replace_term=f"{MARK}$1")
    parts = step.get_ov_subgraph(list(ops.string_tensor_unpack(text).outputs()))
    return ops.string_tensor_pack(*parts).output(0)


def takes_prefix_off(tokenizer: Any) -> bool:
    """Say whether the space at the beginning of a decoded text is taken off."""
    parts = _parts(_settings(tokenizer)["decoder"], "decoders")
    return any(
        part["type"] == "Strip" or part.get("prepend_scheme", "never") != "never" for part in parts
    )


def _settings(tokenizer: Any) -> dict[str, Any]:
    """Return what transformers runs, in the form of tokenizer.json."""
    found: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return found


def _parts(part: dict[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
    """Yield a component, or those that a sequence is made of."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
    for inner in part.get(key, ()):
        yield from _parts(inner, key)
