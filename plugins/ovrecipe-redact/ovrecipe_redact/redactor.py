"""The rules, and the filter that replaces what they match while text comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovrecipe_redact.automaton import Automaton, kind_of
from ovrecipe_redact.expression import parsed

if TYPE_CHECKING:
    from ovrecipe_redact.automaton import State


@dataclass(frozen=True)
class Rule:
    """What is replaced by `placeholder`.

    `check` has the last word about a match; `bool` takes all, for none is empty. Where a match
    was replaced, what `tail` matches is dropped as long as it goes on: long secrets are told from
    their first characters.
    """

    name: str
    expression: str
    placeholder: str
    check: Callable[[str], bool] = bool
    tail: str | None = None


class Rules:
    """Rules compiled for one pass; made once, used by every generation."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile the rules.

        Raises:
            ExpressionRefused: an expression is wrong, or all together are too large.
        """
        self.rules = tuple(rules)
        self.matcher = Automaton([parsed(rule.expression) for rule in self.rules])
        tails = {rule.tail for rule in self.rules if rule.tail is not None}
        self.tails = {tail: Rules([Rule("tail", tail, "")]) for tail in tails}

    def best(self, numbers: Sequence[int], text: str) -> Rule | None:
        """Return the first of the rules that matched `text` and whose check says yes."""
        found = (self.rules[number] for number in numbers)
        return next((rule for rule in found if rule.check(text)), None)


class Redactor:
    """One generation's filter.

    It reads character by character, so where the text was cut cannot matter. Of the matches at
    the leftmost place the longest counts, of equally long ones that of the first rule. A match
    has at most `max_length` characters, and no more are ever held back: only what may still
    become one.
    """

    def __init__(self, rules: Rules, *, max_length: int) -> None:
        self._all = self._rules = rules
        self._max_length = max_length
        self._text = ""
        self._start = 0
        self._last = ""
        self._shown: list[str] = []
        self._begin()

    def feed(self, text: str) -> str:
        """Return what is no match and cannot become one."""
        self._text = self._text[self._start :] + text
        self._end -= self._start
        self._at -= self._start
        self._start = 0
        while self._at < len(self._text):
            self._read(self._text[self._at])
        return self._taken()

    def finish(self) -> str:
        """Return what may have become a match and did not."""
        while self._start < len(self._text):
            self._read(self._text[self._at : self._at + 1])
        return self._taken()

    def _taken(self) -> str:
        shown = "".join(self._shown)
        self._shown.clear()
        return shown

    def _begin(self) -> None:
        """Look for a match from here on."""
        self._at = self._start
        self._state: State = self._rules.matcher.start(kind_of(self._last))
        self._found: Rule | None = None
        self._end = self._start

    def _read(self, char: str) -> None:
        """Read a character, or the end of the text as an empty one."""
        matched, state = self._rules.matcher.step(self._state, char)
        if matched:
            self._note(self._rules.best(matched, self._text[self._start : self._at]))
        if state is None or self._at - self._start >= self._max_length:
            self._decide()
        else:
            self._state = state
            self._at += 1

    def _note(self, rule: Rule | None) -> None:
        if rule is not None:
            self._found, self._end = rule, self._at

    def _decide(self) -> None:
        """Nothing longer can match here: replace what did, or show one character."""
        if self._found is not None:
            self._shown.append(self._found.placeholder)
            self._pass_to(self._end)
            if self._found.tail is not None:
                self._rules = self._all.tails[self._found.tail]
        elif self._rules is self._all:
            self._shown.append(self._text[self._start])
            self._pass_to(self._start + 1)
        else:
            self._rules = self._all
        self._begin()

    def _pass_to(self, place: int) -> None:
        self._last = self._text[place - 1]
        self._start = place
