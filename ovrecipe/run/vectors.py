"""Models that write no text, behind GenAI's pipelines: `Embedder` and `Reranker`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ovrecipe.errors import PromptRefused, PromptTooLong, RunError
from ovrecipe.libraries import prepare_libraries
from ovrecipe.recipe.schema import Recipe
from ovrecipe.recipe.tasks import EMBEDDING, RERANK, TaskName
from ovrecipe.run.genai import KnownTokens, check_device
from ovrecipe.run.prompt import check_prompt
from ovrecipe.wording import last_line

if TYPE_CHECKING:
    from ovrecipe.builtin.vector_settings import VectorSettings

#: Texts that are read at once; each is padded to the longest of them.
BATCH = 16
#: Special tokens that tokenizers put around a text, or around a pair, and between its two.
AROUND = 8


class VectorPipeline:
    """GenAI's pipeline of a task, and the tokenizer beside it; for one caller at a time."""

    def __init__(self, pipeline: Any, tokenizer: Any, device: str) -> None:
        self.device = device
        self._pipeline = pipeline
        self._tokenizer = tokenizer
        self._known: Any = KnownTokens(tokenizer)

    @classmethod
    def opened(
        cls,
        model_dir: Path,
        settings: VectorSettings,
        device: str,
        properties: Mapping[str, Any] | None = None,
    ) -> VectorPipeline:
        """Load a model for the task of its settings.

        Raises:
            DeviceUnknown: the device is not on this machine.
            RunError: GenAI cannot load the model there.
        """
        prepare_libraries(sys.modules, os.environ, properties)
        from openvino import Core
        from openvino_genai import Tokenizer

        check_device(device, Core().available_devices)
        kind, config = CONFIGS[settings.task](settings)
        config.max_length = settings.max_length
        # On the left, where GenAI counts padding into the positions, states would be others.
        config.padding_side = "right"
        try:
            pipeline = kind(model_dir, device, config, **(properties or {}))
            return cls(pipeline, Tokenizer(model_dir), device)
        except (RuntimeError, TypeError, IndexError) as exc:
            raise RunError(
                f"the model cannot be loaded on {device}: {last_line(exc)}",
                remedy="'ovrecipe verify' checks the artifact's files, 'ovrecipe devices' the "
                "device; properties must be OpenVINO's",
            ) from exc

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vector of each text.

        Raises:
            RunError: the model failed.
        """
        found: list[list[float]] = []
        for batch in batches(texts):
            with _model_errors(self.device):
                found += self._pipeline.embed_documents(batch)
        return found

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return the score of each text for a query, from 0 to 1, in the order of the texts.

        Raises:
            RunError: the model failed.
        """
        found: list[float] = []
        for batch in batches(texts):
            with _model_errors(self.device):
                ranked = dict(self._pipeline.rerank(query, batch))
            found += [float(ranked[number]) for number in range(len(batch))]
        return found

    def token_count(self, text: str) -> int:
        """Return how many tokens a text is, with those that the tokenizer adds."""
        return int(self._tokenizer.encode(text).input_ids.shape[1])

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of tokens; special ones, which a model puts around a text, are left out.

        Raises:
            PromptRefused: the model has no such token.
        """
        self._known.check(ids, "a text")
        return str(self._tokenizer.decode(list(ids)))

    def close(self) -> None:
        """Let go of the model's memory."""
        self._pipeline = self._tokenizer = self._known = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _embedding_config(settings: VectorSettings) -> tuple[Any, Any]:
    from openvino_genai import TextEmbeddingPipeline

    config = TextEmbeddingPipeline.Config()
    ways = TextEmbeddingPipeline.PoolingType
    poolings = {"cls": ways.CLS, "mean": ways.MEAN, "last_token": ways.LAST_TOKEN}
    config.pooling_type = poolings[str(settings.pooling)]
    config.normalize = settings.normalize
    return TextEmbeddingPipeline, config


def _rerank_config(settings: VectorSettings) -> tuple[Any, Any]:  # noqa: ARG001
    from openvino_genai import TextRerankPipeline

    config = TextRerankPipeline.Config()
    config.top_n = BATCH  # by itself it returns the best three
    return TextRerankPipeline, config


#: GenAI's pipeline of each task, and what it is told besides lengths.
CONFIGS: Mapping[TaskName, Callable[[VectorSettings], tuple[Any, Any]]] = {
    EMBEDDING: _embedding_config,
    RERANK: _rerank_config,
}


#: The least that makes a model ready.
WARM_UPS: Mapping[TaskName, Callable[[VectorPipeline], object]] = {
    EMBEDDING: lambda pipeline: pipeline.vectors(["warm"]),
    RERANK: lambda pipeline: pipeline.scores("warm", ["up"]),
}


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the texts in order, some at a time; GenAI ends the process for none at all."""
    for start in range(0, len(texts), BATCH):
        yield list(texts[start : start + BATCH])


@contextmanager
def _model_errors(device: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        raise RunError(f"the model failed on {device}: {last_line(exc)}") from exc


@dataclass(eq=False, repr=False)
class VectorModel:
    """A loaded model that writes no text; any thread may ask, one after the other.

    Made by `ovrecipe.load`. Use it in a `with` block, or `close` it.
    """

    pipeline: VectorPipeline
    _: KW_ONLY
    recipe: Recipe
    variant: str
    settings: VectorSettings
    #: Is told of texts that are longer than what is read.
    announce: Callable[[str], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    @property
    def device(self) -> str:
        """The device that it was loaded on."""
        return self.pipeline.device

    def warm_up(self) -> None:
        """Read a text, so that the first answer is as quick as the second."""
        with self._asking() as pipeline:
            WARM_UPS[self.settings.task](pipeline)

    def close(self) -> None:
        """Free the model, when nobody is asking it any more."""
        with self._lock:
            self._closed = True
            self.pipeline.close()

    @contextmanager
    def _asking(self) -> Iterator[VectorPipeline]:
        with self._lock:
            if self._closed:
                raise RunError("the model was closed", remedy="load it again")
            yield self.pipeline

    def texts_of(self, texts: Sequence[str | Sequence[int]]) -> list[str]:
        """Return texts of which some are given as the model's tokens.

        Raises:
            PromptRefused: the model has no such token.
        """
        with self._asking() as pipeline:
            return [text if isinstance(text, str) else pipeline.text_of(text) for text in texts]

    def _counted(self, texts: Sequence[str], beside: int = 0) -> list[int]:
        """Return how many tokens each text has, `beside` those of another.

        Raises:
            PromptTooLong: one has more than the model reads.
        """
        with self._asking() as pipeline:
            counts = [pipeline.token_count(text) + beside for text in texts]
        for number, count in enumerate(counts, start=1):
            if count > self.settings.max_length:
                raise PromptTooLong(
                    f"text {number} has {count} tokens, more than the {self.settings.max_length} "
                    f"that {self.recipe.name} reads",
                    remedy="cut it into several",
                )
        return counts

    def _tell_of_cut(self, pipeline: VectorPipeline, texts: Sequence[str], beside: int = 0) -> None:
        """Announce how many texts are read in part only; `beside` tokens are another's."""
        room = self.settings.max_length - beside
        long = [
            text
            for text in texts
            # A token has at least a byte, so most texts need not be counted.
            if len(text.encode()) + AROUND > room and pipeline.token_count(text) > room
        ]
        if long:
            self.announce(
                f"{len(long)} of {len(texts)} texts are longer than the {room} tokens that "
                f"{self.recipe.name} reads of each; the rest of them was cut off"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} {self.recipe.name}:{self.variant} on {self.device}>"


class Embedder(VectorModel):
    """Makes a vector of a text; near vectors mean what is alike."""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Return the embedding of each text, in their order.

        Texts are documents, and get the recipe's instruction of such; with `query` they are what
        is looked for.

        Raises:
            PromptRefused: a text is blank or no text.
            RunError: the model failed, or was closed.
        """
        asked = self._with_instruction(texts, query=query)
        with self._asking() as pipeline:
            self._tell_of_cut(pipeline, asked)
            return pipeline.vectors(asked)

    def token_counts(self, texts: Sequence[str], *, query: bool = False) -> list[int]:
        """Return how many tokens of each text `embed` reads, the instruction's among them.

        Raises:
            PromptRefused: a text is blank or no text.
            PromptTooLong: one of them would be cut off.
        """
        return self._counted(self._with_instruction(texts, query=query))

    def _with_instruction(self, texts: Sequence[str], *, query: bool) -> list[str]:
        said = self.settings.query_instruction if query else self.settings.document_instruction
        return [said + text for text in checked(texts)]


@dataclass(frozen=True)
class Ranked:
    """A text's place among those that were given, and its score from 0 to 1."""

    index: int
    score: float


class Reranker(VectorModel):
    """Says how well texts answer a query."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[Ranked]:
        """Return the texts by score, the best first; those with equal scores as they were given.

        Raises:
            PromptRefused: the query or a text is blank or no text.
            RunError: the model failed, or was closed.
        """
        asked, documents = self._with_instructions(query, texts)
        with self._asking() as pipeline:
            self._tell_of_cut(pipeline, documents, beside=pipeline.token_count(asked))
            scores = pipeline.scores(asked, documents)
        found = [Ranked(index, score) for index, score in enumerate(scores)]
        return sorted(found, key=lambda ranked: -ranked.score)

    def token_counts(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return how many tokens `rerank` reads for each text, the query's among them.

        Raises:
            PromptRefused: the query or a text is blank or no text.
            PromptTooLong: one of them would be cut off.
        """
        asked, documents = self._with_instructions(query, texts)
        with self._asking() as pipeline:
            beside = pipeline.token_count(asked)
        return self._counted(documents, beside)

    def _with_instructions(self, query: str, texts: Sequence[str]) -> tuple[str, list[str]]:
        asked = self.settings.query_instruction + check_prompt(query, "the query")
        return asked, [self.settings.document_instruction + text for text in checked(texts)]


MODELS: Mapping[TaskName, type[VectorModel]] = {EMBEDDING: Embedder, RERANK: Reranker}


def checked(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list.

    Raises:
        PromptRefused: they are a single text, or one of them is blank or no text.
    """
    if isinstance(texts, str):
        raise PromptRefused("a single text was given", remedy="give a list of texts: [text]")
    return [check_prompt(text, f"text {number}") for number, text in enumerate(texts, start=1)]
