"""The options of the filter: below `redact` in `output.filters`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ovrecipe_redact.expression import ExpressionRefused, can_be_empty, parsed
from ovrecipe_redact.known import LONGEST, NAMES, Known, known_rules
from ovrecipe_redact.redactor import Rule, Rules

RULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


def _rule_name(name: str) -> str:
    if not RULE_NAME.fullmatch(name):
        raise PydanticCustomError(
            "rule_name", "a rule's name is letters, digits, '-' and '_', a letter first, at most 40"
        )
    return name


RuleName = Annotated[str, AfterValidator(_rule_name)]


class Options(BaseModel):
    """What is replaced, and by what; `{name}` in a placeholder is the rule's name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    known: tuple[Known, ...] = NAMES
    patterns: dict[RuleName, str] = Field(default={}, validate_default=True)
    placeholder: str = "[{name}]"
    placeholders: dict[str, str] = {}
    max_length: int = Field(default=256, ge=LONGEST, le=4096)

    @field_validator("patterns")
    @classmethod
    def _can_be_matched_in_a_stream(
        cls, patterns: dict[str, str], info: ValidationInfo
    ) -> dict[str, str]:
        for name, expression in patterns.items():
            _check(name, expression)
        if not patterns and not info.data.get("known", NAMES):
            raise _refused("nothing to redact: name some of 'known', or give 'patterns'")
        _compile(patterns)
        return patterns

    @field_validator("placeholders")
    @classmethod
    def _are_those_of_rules(
        cls, placeholders: dict[str, str], info: ValidationInfo
    ) -> dict[str, str]:
        names = {*info.data.get("known", ()), *info.data.get("patterns", placeholders)}
        unknown = sorted({*placeholders} - names)
        if unknown:
            raise _refused(f"no rule is named '{unknown[0]}'")
        return placeholders

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
    if name in NAMES:
        raise _refused(f"'{name}' is built in; take another name")
    try:
        node = parsed(expression)
    except ExpressionRefused as exc:
        raise _refused(f"'{name}': {exc}") from exc
    if can_be_empty(node):
        raise _refused(f"'{name}': matches empty text; it must take at least one character")


def _compile(patterns: dict[str, str]) -> None:
    """Refuse what is too large, also beside all that is known, before anything runs."""
    rules = [Rule(name, expression, "") for name, expression in patterns.items()]
    try:
        Rules([*rules, *(rule for name in NAMES for rule in known_rules(name, ""))])
    except ExpressionRefused as exc:
        raise _refused(str(exc)) from exc


def _refused(reason: str) -> PydanticCustomError:
    return PydanticCustomError("redact", "{reason}", {"reason": reason})
