"""Which texts a tokenizer must give back unchanged: a check that needs no second opinion.

Byte-level and byte-fallback vocabularies can spell every text, so whatever the right tokenizer
is, decoding its ids gives the text back. A tokenizer that was put together wrongly (a byte-level
vocabulary behind a SentencePiece decoder, for one) does not, even though its converted twin
agrees with it about every id.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Normalizers that lose nothing, or, for NFC, what can be told beforehand.
KEEPING = {"NFC", "Prepend", "Replace"}
PRINTABLE_ASCII = bytes(range(0x21, 0x7F))


def lossless_texts(settings: dict[str, Any], texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (text, what it must decode to) for the texts that this tokenizer cannot lose.

    `settings` is the content of tokenizer.json. Nothing is yielded for vocabularies that cannot
    spell everything, and for normalizers that change text on purpose.
    """
    spells = _spells(settings)
    kinds = {each["type"] for each in _parts(settings.get("normalizer"), "normalizers")}
    if spells is None or not kinds <= KEEPING:
        return
    for text in texts:
        expected = unicodedata.normalize("NFC", text) if "NFC" in kinds else text
        if "▁" not in text and spells(expected):
            yield text, expected


def same_text(settings: dict[str, Any], expected: str, got: str) -> bool:
    """Compare, with leading spaces aside where a space is put in front and taken off again."""
    if _prefixes_space(settings):
        return expected.lstrip(" ") == got.lstrip(" ")
    return expected == got


def _spells(settings: dict[str, Any]) -> Callable[[str], bool] | None:
    """Return which texts the vocabulary can spell byte by byte, or None when it is not made so."""
    model = settings.get("model") or {}
    if model.get("type") != "BPE":
        return None
    vocabulary = model.get("vocab") or {}
    fallback = {n for n in range(256) if f"<0x{n:02X}>" in vocabulary}
    if len(fallback) == 256 and model.get("byte_fallback"):
        return lambda text: True  # noqa: ARG005
    letters = _byte_letters()
    level = {n for n, letter in letters.items() if letter in vocabulary}
    if "Ġ" in vocabulary and set(PRINTABLE_ASCII) <= level:
        return lambda text: set(text.encode()) <= level
    return None


def _byte_letters() -> dict[int, str]:
    """Return the letter that stands for each byte in a byte-level vocabulary.

    Source: GPT-2, src/encoder.py: printable bytes are themselves, the others come from U+0100.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [n for n in range(256) if n not in printable]
    shifted = {n: chr(0x100 + place) for place, n in enumerate(others)}
    return {**{n: chr(n) for n in printable}, **shifted}


def _prefixes_space(settings: dict[str, Any]) -> bool:
    cuts = list(_parts(settings.get("pre_tokenizer"), "pretokenizers"))
    normalizers = _parts(settings.get("normalizer"), "normalizers")
    return any(each["type"] == "Metaspace" or each.get("add_prefix_space") for each in cuts) or any(
        each["type"] == "Prepend" for each in normalizers
    )


def _parts(part: dict[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
    """Yield a component of tokenizer.json, or those that a sequence is made of."""
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for each in part[key]:
        yield from _parts(each, key)
