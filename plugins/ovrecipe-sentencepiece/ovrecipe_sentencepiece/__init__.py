"""A tokenizer converter for ovrecipe: runs a checkpoint's SentencePiece model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovrecipe import hookimpl

if TYPE_CHECKING:
    from ovrecipe.hooks.roles import Role, TokenizerConverter

NAME = "sentencepiece"


@hookimpl
def provider_names(role: Role) -> list[str]:
    """Name the converters of this plugin."""
    return [NAME] if role == "tokenizer_converter" else []


@hookimpl
def get_tokenizer_converter(name: str) -> TokenizerConverter | None:
    """Return who converts the tokenizer."""
    if name != NAME:
        return None
    from ovrecipe_sentencepiece.converter import SentencePieceConverter

    return SentencePieceConverter()
