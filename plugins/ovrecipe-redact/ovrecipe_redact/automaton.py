"""The automaton that matches many expressions at once and reads each character once.

Source: K. Thompson, "Regular Expression Search Algorithm", 1968; that sets of its states are made
into states of a second automaton only when they are met is from R. Cox, "Regular Expression
Matching Can Be Simple And Fast", 2007. No text makes it step back, so none makes it slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import TypeAlias

from ovrecipe_redact.expression import (
    Choice,
    ExpressionRefused,
    Letter,
    Node,
    Place,
    Repeat,
    Sequence,
)

#: What a condition asks of the characters beside it: `None` is the edge of the text.
Kind: TypeAlias = "str | None"
NEWLINE, WORD, OTHER = "newline", "word", "other"

MAX_NODES = 20_000
#: Memory for what is remembered of a hostile text; beyond it, all is forgotten and made again.
MAX_STATES = 1_000
MAX_STEPS = 256


def kind_of(char: str) -> Kind:
    """Return what conditions see of a character; of no character, the edge of the text."""
    if not char:
        return None
    if char == "\n":
        return NEWLINE
    return WORD if char.isalnum() or char == "_" else OTHER


def _holds(condition: str, before: Kind, behind: Kind) -> bool:
    match condition:
        case "^":
            return before in {None, NEWLINE}
        case "$":
            return behind in {None, NEWLINE}
        case "A":
            return before is None
        case "Z":
            return behind is None
        case _:
            return ((before == WORD) != (behind == WORD)) == (condition == "b")


@dataclass
class State:
    """A set of places in the expressions, and the kind of the character before it.

    `steps` remembers, for each character that came: the rules that match up to before it, and
    the next state, or None when nothing can match any more.
    """

    nodes: frozenset[int]
    before: Kind
    steps: dict[str, tuple[tuple[int, ...], State | None]] = field(default_factory=dict)


class Automaton:
    """Matches expressions at one place; which of them matched is their number."""

    def __init__(self, expressions: Ordered[Node]) -> None:
        """Build the automaton.

        Raises:
            ExpressionRefused: the expressions are too large together.
        """
        self._letters: list[list[tuple[re.Pattern[str], int]]] = []
        self._empty: list[list[tuple[str | None, int]]] = []
        self._rule_at: dict[int, int] = {}
        self._states: dict[tuple[frozenset[int], Kind], State] = {}
        first = self._node()
        for rule, expression in enumerate(expressions):
            last = self._node()
            self._build(expression, first, last)
            self._rule_at[last] = rule
        self._first = frozenset({first})

    def start(self, before: Kind) -> State:
        """Return the state in which nothing was read yet."""
        return self._state(self._first, before)

    def step(self, state: State, char: str) -> tuple[tuple[int, ...], State | None]:
        """Read a character, or the end of the text as an empty one."""
        known = state.steps.get(char)
        if known is None:
            if len(state.steps) >= MAX_STEPS:
                state.steps.clear()
            known = state.steps[char] = self._made(state, char)
        return known

    def _made(self, state: State, char: str) -> tuple[tuple[int, ...], State | None]:
        behind = kind_of(char)
        reached = self._closure(state.nodes, state.before, behind)
        rules = tuple(sorted({self._rule_at[node] for node in reached if node in self._rule_at}))
        moved = frozenset(self._moved(reached, char)) if char else frozenset()
        return rules, self._state(moved, behind) if moved else None

    def _state(self, nodes: frozenset[int], before: Kind) -> State:
        known = self._states.get((nodes, before))
        if known is None:
            if len(self._states) >= MAX_STATES:
                self._states.clear()
            known = self._states[nodes, before] = State(nodes, before)
        return known

    def _closure(self, nodes: Iterable[int], before: Kind, behind: Kind) -> set[int]:
        """Return all nodes that are reached without reading."""
        reached, waiting = set(nodes), list(nodes)
        while waiting:
            for condition, target in self._empty[waiting.pop()]:
                open_way = condition is None or _holds(condition, before, behind)
                if open_way and target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return reached

    def _moved(self, nodes: Iterable[int], char: str) -> Iterator[int]:
        for node in nodes:
            for pattern, target in self._letters[node]:
                if pattern.fullmatch(char):
                    yield target

    def _node(self) -> int:
        if len(self._letters) >= MAX_NODES:
            raise ExpressionRefused("too large; make the counts in {...} smaller")
        self._letters.append([])
        self._empty.append([])
        return len(self._letters) - 1

    def _build(self, node: Node, start: int, end: int) -> None:
        """Lead from `start` to `end` through an expression."""
        match node:
            case Letter(pattern):
                self._letters[start].append((pattern, end))
            case Place(kind):
                self._empty[start].append((kind, end))
            case Choice(options):
                for option in options:
                    self._build(option, start, end)
            case Sequence(parts):
                self._empty[self._chain(parts, start)].append((None, end))
            case Repeat(part, least, most):
                self._repeat(part, self._chain((part,) * least, start), end, most, least)

    def _chain(self, parts: Iterable[Node], start: int) -> int:
        for part in parts:
            behind = self._node()
            self._build(part, start, behind)
            start = behind
        return start

    def _repeat(self, part: Node, start: int, end: int, most: int | None, least: int) -> None:
        # A loop gets a node of its own: other ways into `start` must not lead around it.
        at = self._node()
        self._empty[start].append((None, at))
        if most is None:
            self._build(part, at, at)
        for _ in range((most or least) - least):
            self._empty[at].append((None, end))
            at = self._chain((part,), at)
        self._empty[at].append((None, end))
