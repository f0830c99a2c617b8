"""Which source a model id belongs to."""

from __future__ import annotations

import pytest

from ovrecipe.recipe.schema import split_model_id


@pytest.mark.parametrize(
    ("model_id", "parts"),
    [
        ("org/name", ("hub", "org/name")),
        ("gpt2", ("hub", "gpt2")),
        ("./dir", ("local", "./dir")),
        ("../dir", ("local", "../dir")),
        ("/abs/dir", ("local", "/abs/dir")),
        ("~/dir", ("local", "~/dir")),
        (".", ("local", ".")),
        ("C:\\models\\x", ("local", "C:\\models\\x")),
        ("C:/models/x.gguf", ("gguf", "C:/models/x.gguf")),
        ("./x.GGUF", ("gguf", "./x.GGUF")),
        ("org/name.gguf", ("hub", "org/name.gguf")),
        ("dist:some-dist/pkg/file.gguf", ("dist", "some-dist/pkg/file.gguf")),
        ("s3:bucket/key", ("s3", "bucket/key")),
    ],
)
def test_an_id_names_its_source(model_id: str, parts: tuple[str, str]) -> None:
    """Paths are told from hub ids by how they start, as in a shell."""
    assert split_model_id(model_id) == parts
