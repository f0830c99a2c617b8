"""Requests for embeddings and for an order of texts, and their answers.

Source: OpenAI's API reference (embeddings); Cohere's and Jina's rerank, which agree on these
fields.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from ovrecipe.errors import RequestRefused
from ovrecipe.run.openai.requests import Ids, Section

#: OpenAI's own bound.
MOST_TEXTS = 2048
FLOAT_BYTES = 4
Texts: TypeAlias = Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]
ManyIds: TypeAlias = Annotated[list[Ids], Field(min_length=1, max_length=MOST_TEXTS)]


class EmbeddingRequest(Section):
    """A request to `/v1/embeddings`.

    `input_type` says that texts are what is looked for, where a model has an instruction for such.
    """

    model: str
    input: str | Texts | Ids | ManyIds
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    input_type: Literal["query", "document", "passage"] = "document"
    user: str | None = None

    def texts(self) -> Sequence[str | Sequence[int]]:
        """Return the texts; some are given as tokens."""
        if isinstance(self.input, str):
            return [self.input]
        return [self.input] if isinstance(self.input[0], int) else self.input

    def check_dimensions(self, have: int) -> None:
        """Refuse vectors of another length than a model's, which would have to be cut off.

        Raises:
            RequestRefused: they were asked for.
        """
        if self.dimensions not in (None, have):
            message = f"dimensions: the vectors of {self.model} have {have}, and are not cut off"
            raise RequestRefused(message, param="dimensions")

    def answer(self, model: str, vectors: Sequence[str], tokens: int) -> dict[str, Any]:
        """Return the answer; `vectors` are as `packed` makes them."""
        is_text = self.encoding_format == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector if is_text else unpacked(vector),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": model, "usage": usage}


def packed(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI's base64: 32-bit numbers, the lowest byte first."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def unpacked(vector: str) -> list[float]:
    """Return the numbers of a vector."""
    content = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(content) // FLOAT_BYTES}f", content))


class Document(Section):
    """A text, as Cohere's clients send it."""

    text: str


class RerankRequest(Section):
    """A request to `/v1/rerank`."""

    model: str
    query: str
    documents: Annotated[list[str | Document], Field(min_length=1, max_length=MOST_TEXTS)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False

    def texts(self) -> list[str]:
        """Return the texts that are put in order."""
        return [one if isinstance(one, str) else one.text for one in self.documents]

    def answer(
        self, model: str, ranked: Sequence[Mapping[str, Any]], tokens: int
    ) -> dict[str, Any]:
        """Return the answer: the best first."""
        texts = self.texts()
        results = []
        for one in ranked[: self.top_n]:
            result = {"index": one["index"], "relevance_score": one["score"]}
            if self.return_documents:
                result["document"] = {"text": texts[one["index"]]}
            results.append(result)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": model, "results": results, "usage": usage}
