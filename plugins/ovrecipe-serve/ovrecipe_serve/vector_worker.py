"""The process of a model that embeds or orders texts: one request after the other.

Between two batches of texts it is looked whether who asked still waits.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError
from ovrecipe.recipe.tasks import EMBEDDING
from ovrecipe.run.openai.vectors import packed
from ovrecipe.run.vectors import batches
from ovrecipe.wording import one_line
from ovrecipe_serve.opening import told, where

if TYPE_CHECKING:
    from ovrecipe.processes import Events


class VectorWorker:
    """Requests of the server on one embedder or reranker."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.model: Any = None
        self._orders: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        #: The requests that somebody waits for.
        self._wanted: set[int] = set()

    def serve(self, job: Mapping[str, Any]) -> int:
        """Load the model, answer until the server goes, and return the exit code."""
        from ovrecipe.run.load import load

        try:
            self.model = load(**where(job, self.events), warm_up=True, task=job["task"])
            size = len(self.model.embed(["size"])[0]) if job["task"] == EMBEDDING else None
        except OvrecipeError as error:
            self.events.send_error(error)
            return error.exit_code
        self.events.send(
            "ready",
            device=self.model.device,
            variant=self.model.variant,
            context_length=self.model.settings.max_length,
            dimensions=size,
            pid=os.getpid(),
        )
        threading.Thread(target=self._read, daemon=True, name="orders").start()
        while (order := self._orders.get()) is not None:
            self._obey(order)
        return 0

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            order = json.loads(line)
            if order["op"] == "cancel":
                self._wanted.discard(order["id"])
            else:
                self._wanted.add(order["id"])
                self._orders.put(order)
        # Nobody is there to be answered.
        os._exit(0)

    def _obey(self, order: Mapping[str, Any]) -> None:
        number = order["id"]
        try:
            found = self._embedded(order) if order["op"] == "embed" else self._ranked(order)
        except OvrecipeError as error:
            self.events.send("refused", id=number, **told(error))
        except Exception as error:  # noqa: BLE001 - a defect of ours; it must not end the others
            traceback.print_exc()
            broke = OvrecipeError(f"a defect: {one_line(error)}")
            self.events.send("refused", id=number, **told(broke))
        else:
            self.events.send("result", id=number, **found)

    def _embedded(self, order: Mapping[str, Any]) -> dict[str, Any]:
        texts, query = self.model.texts_of(order["texts"]), order["query"]
        tokens = sum(self.model.token_counts(texts, query=query))
        vectors: list[str] = []
        for batch in batches(texts):
            if order["id"] not in self._wanted:
                break
            vectors += map(packed, self.model.embed(batch, query=query))
        return {"vectors": vectors, "tokens": tokens}

    def _ranked(self, order: Mapping[str, Any]) -> dict[str, Any]:
        query, texts = order["query"], order["texts"]
        tokens = sum(self.model.token_counts(query, texts))
        if order["id"] not in self._wanted:
            return {"ranked": [], "tokens": 0}
        return {"ranked": [vars(one) for one in self.model.rerank(query, texts)], "tokens": tokens}
