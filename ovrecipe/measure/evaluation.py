"""A variant against its source, along texts: figures, and where its answers begin to differ.

What the source says along the texts is kept on the disk, text by text, so that it is computed once
for all variants, and never held in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from ovrecipe.builtin.ir import StatefulModel
from ovrecipe.errors import GateError, StoreError
from ovrecipe.hooks.roles import silent
from ovrecipe.measure.figures import Figures, Places, at_places, figures_of
from ovrecipe.measure.models import EXACTLY
from ovrecipe.measure.reference import Said, said
from ovrecipe.measure.texts import Text, Texts, Written, predicted
from ovrecipe.store.disk import disk_errors, random_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovrecipe.types import Progress

#: Raised when the same texts would be compared in another way.
VERSION = 2
#: The arrays of a text in its file.
ARRAYS = ("tokens", "read", "is_greedy", "top_ids", "top", "chosen")


class Source:
    """What a source says along texts, computed at most once and kept below `cache_dir`.

    `open_model` gives the source's model; it is called only for what is not kept yet.
    """

    def __init__(
        self, open_model: Callable[[], StatefulModel], texts: Texts, cache_dir: Path
    ) -> None:
        self.texts = texts
        document = json.dumps([VERSION, texts.key()], sort_keys=True)
        self._folder = cache_dir / hashlib.sha256(document.encode()).hexdigest()[:16]
        self._open_model = open_model

    @property
    def name(self) -> str:
        """What tells texts apart: the same for the same texts that are compared in one way."""
        return self._folder.name

    def prepare(self, progress: Progress = silent) -> None:
        """Compute what is not kept yet; interrupted, it goes on where it was.

        Raises:
            GateError: the source's logits are not finite, or the tokenizer is not its own.
        """
        missing = [group for group in range(self.texts.count) if self._load(group) is None]
        if not missing:
            return
        progress("opening the source")
        model = self._open_model()
        with disk_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        for done, group in enumerate(missing):
            progress("asking the source", done=done, total=len(missing))
            texts = self.texts.of(group, model)
            self._save(group, list(zip(texts, _says(model, texts), strict=True)))

    def __iter__(self) -> Iterator[tuple[Text, Said]]:
        """Yield the texts and what the source says."""
        for group in self.groups():
            yield from group

    def groups(self) -> Iterator[list[tuple[Text, Said]]]:
        """Yield the texts and what the source says, one group in memory at a time.

        Raises:
            StoreError: it was not prepared, or somebody removed it.
        """
        for group in range(self.texts.count):
            found = self._load(group)
            if found is None:
                raise StoreError(
                    f"{self._path(group)} is gone",
                    remedy="somebody removed it meanwhile; try again",
                )
            yield found

    def _path(self, group: int) -> Path:
        return self._folder / f"{group:05}.npz"

    def _load(self, group: int) -> list[tuple[Text, Said]] | None:
        """Return what is kept of a group; None when it is not there, or damaged."""
        import numpy as np

        with (
            suppress(OSError, ValueError, KeyError, EOFError, BadZipFile),
            self._path(group).open("rb") as file,
            np.load(file, allow_pickle=False) as found,
        ):
            rows = range(int(found["count"]))
            return [
                (
                    Text(tokens, int(start), group, bool(is_greedy)),
                    Said(top_ids, top, chosen),
                )
                for tokens, start, is_greedy, top_ids, top, chosen in (
                    [found[f"{name}-{row}"] for name in ARRAYS] for row in rows
                )
            ]
        return None

    def _save(self, group: int, rows: list[tuple[Text, Said]]) -> None:
        import numpy as np

        arrays: dict[str, Any] = {
            f"{name}-{row}": value
            for row, (text, kept) in enumerate(rows)
            for name, value in zip(
                ARRAYS, (text.tokens, text.read, text.is_greedy, *kept), strict=True
            )
        }
        path = self._path(group)
        temporary = path.with_name(f".{path.stem}.{random_name()}.npz")
        with disk_errors(self._folder):
            try:
                np.savez(temporary, count=len(rows), **arrays)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Example:
    """A greedy answer of the source as tokens, the variant's, and the first place that differs."""

    group: int
    source: list[int]
    variant: list[int]
    first_difference: int | None


@dataclass(frozen=True)
class Evaluation:
    """A variant against its source.

    `perplexity` is the variant's of the texts, `source_perplexity` the source's own. Of each greedy
    answer, `first_differences` have the number of the first token that the variant would choose
    otherwise, None where there is none.
    """

    figures: Figures
    perplexity: float
    source_perplexity: float
    first_differences: tuple[int | None, ...]
    examples: tuple[Example, ...]


def evaluated(
    model_dir: Path, source: Source, *, examples: int = 0, progress: Progress = silent
) -> Evaluation:
    """Compare the model of a folder with what a source says; of so many answers give examples.

    Raises:
        GateError: a logit is not finite.
    """
    import numpy as np

    progress("opening the variant")
    model = StatefulModel(model_dir, EXACTLY)
    places: list[Places] = []
    groups: list[int] = []
    greedy: list[tuple[Text, int | None]] = []
    losses = 0.0
    for number, group in enumerate(source.groups()):
        progress("comparing with the source", done=number, total=source.texts.count)
        compared = _compared(model, group)
        places += compared
        for (text, kept), found in zip(group, compared, strict=True):
            groups.append(text.group)
            losses -= float(kept.chosen.sum(dtype=np.float64))
            if text.is_greedy:
                others = np.flatnonzero(~found.same_top)
                greedy.append((text, int(others[0]) if len(others) else None))
    progress("answering")
    figures = figures_of(places, groups)
    perplexity = float(np.exp(losses / figures.tokens))
    return Evaluation(
        figures,
        perplexity * figures.perplexity_ratio,
        perplexity,
        tuple(first for _, first in greedy),
        tuple(_examples(model, source.texts, greedy[:examples])),
    )


def _compared(model: StatefulModel, group: Sequence[tuple[Text, Said]]) -> list[Places]:
    import numpy as np

    found: list[list[Places]] = [[] for _ in group]
    texts = [text for text, _ in group]
    for number, part, logits in finite_logits(model, texts, "model's"):
        text, kept = group[number]
        found[number].append(at_places(kept.at(part), text.following[part], logits))
    return [Places(*map(np.concatenate, zip(*parts, strict=True))) for parts in found]


def _says(model: StatefulModel, texts: Sequence[Text]) -> list[Said]:
    import numpy as np

    found: list[list[Said]] = [[] for _ in texts]
    for number, part, logits in finite_logits(model, texts, "source's own"):
        found[number].append(said(logits, texts[number].following[part]))
    return [Said(*map(np.concatenate, zip(*parts, strict=True))) for parts in found]


def finite_logits(
    model: StatefulModel, texts: Sequence[Text], whose: str
) -> Iterator[tuple[int, slice, NDArray[np.float32]]]:
    """Yield of each text which of its predicted tokens, and the logits for them.

    Raises:
        GateError: one is not finite.
    """
    import numpy as np

    for number, part, logits in predicted(model, texts):
        if not np.isfinite(logits).all():
            raise GateError(
                f"the {whose} logits are not finite",
                remedy="its weights are damaged, or overflow in their dtype; build it again",
            )
        yield number, part, logits


def _examples(
    model: StatefulModel, texts: Texts, greedy: list[tuple[Text, int | None]]
) -> Iterator[Example]:
    for text, first in greedy:
        own = text.following.tolist()
        assert isinstance(texts, Written), "only the source's own answers are greedy"
        answer = own if first is None else texts.continuation(model, text, first)
        yield Example(text.group, own, answer, first)
