"""What stands below `redact` in `output.filters`."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from ovrecipe_redact.expression import ExpressionRefused, can_be_empty, parsed
from ovrecipe_redact.known import LONGEST, NAMES, Known, known_rules
from ovrecipe_redact.redactor import Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Iterator

RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]


class Options(BaseModel):
    """What is replaced, and by what; `{name}` in a placeholder is the rule's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    known: tuple[Known, ...] = NAMES
    patterns: dict[RuleName, str] = {}
    placeholder: str = "[{name}]"
    placeholders: dict[str, str] = {}
    max_length: int = Field(default=256, ge=LONGEST, le=4096)

    @field_validator("patterns")
    @classmethod
    def _can_be_matched_in_a_stream(cls, patterns: dict[str, str]) -> dict[str, str]:
        for name, expression in patterns.items():
            _check(name, expression)
        return patterns

    @model_validator(mode="after")
    def _names_and_rules_are_there(self) -> Options:
        names = {*self.known, *self.patterns}
        if not names:
            raise ValueError("nothing to redact: name some of 'known', or give 'patterns'")
        twice = sorted({*NAMES} & {*self.patterns})
        if twice:
            raise ValueError(f"patterns: '{twice[0]}' is built in; take another name")
        unknown = sorted({*self.placeholders} - names)
        if unknown:
            raise ValueError(f"placeholders: no rule is named '{unknown[0]}'")
        self.rules  # noqa: B018 - compiles, and refuses what is too large, before anything runs
        return self

    @cached_property
    def rules(self) -> Rules:
        """The rules, compiled once for all generations: the user's before those built in."""
        return Rules(self._rules())

    def _rules(self) -> Iterator[Rule]:
        for name, expression in self.patterns.items():
            yield Rule(name, expression, self._placeholder(name))
        for known in dict.fromkeys(self.known):
            yield from known_rules(known, self._placeholder(known))

    def _placeholder(self, name: str) -> str:
        return self.placeholders.get(name, self.placeholder).replace("{name}", name)


def _check(name: str, expression: str) -> None:
    try:
        node = parsed(expression)
    except ExpressionRefused as exc:
        raise ValueError(f"'{name}': {exc}") from exc
    if can_be_empty(node):
        raise ValueError(f"'{name}': matches empty text; it must take at least one character")
