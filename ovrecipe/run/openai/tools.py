"""Functions that a model may call: how it is told of them, and how calls are read from its answer.

Calls are written as Hermes and Qwen models write them: `<tool_call>`, one JSON object with `name`
and `arguments`, `</tool_call>`. Where a call must be made, a schema makes sure that it is one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ovrecipe.errors import RequestRefused
from ovrecipe.wording import perhaps

START, END = "<tool_call>", "</tool_call>"


class Function(BaseModel):
    """A function, with the JSON schema of its arguments."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """What a model may call."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    type: Literal["function"]
    function: Function

    def schema_of_call(self) -> dict[str, Any]:
        """Return the JSON schema of a call."""
        return {
            "type": "object",
            "properties": {
                "name": {"const": self.function.name},
                "arguments": self.function.parameters or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class ToolUse:
    """The functions of a request; where one must be called, the answer is held to that `form`."""

    tools: Sequence[Tool] = ()
    form: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions."""
        return tuple(tool.function.name for tool in self.tools)


def chosen_tools(tools: Sequence[Tool], choice: Any, *, parallel: bool | None) -> ToolUse:
    """Return what `tools` and `tool_choice` ask for together.

    Raises:
        RequestRefused: they do not fit together.
    """
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise RequestRefused("tools: two functions have one name", param="tools")
    if choice not in (None, "none", "auto") and not tools:
        raise RequestRefused("tool_choice: there are no tools", param="tool_choice")
    if choice == "none" or not tools:
        return ToolUse()
    if choice not in (None, "auto"):
        return ToolUse(tools, _forced([tool for tool in tools if _may_be(tool, choice, names)]))
    if parallel is False:
        raise RequestRefused(
            "parallel_tool_calls: false cannot be made sure of where the model chooses; "
            "use tool_choice: required",
            param="parallel_tool_calls",
        )
    return ToolUse(tools)


def _may_be(tool: Tool, choice: Any, names: Sequence[str]) -> bool:
    """Return whether a choice that is neither none nor auto lets a function be called.

    Raises:
        RequestRefused: the choice is none, or names no function.
    """
    if choice == "required":
        return True
    try:
        named = choice["function"]["name"]
    except (KeyError, TypeError) as exc:
        raise RequestRefused(
            "tool_choice: must be none, auto, required or "
            '{"type": "function", "function": {"name": ...}}',
            param="tool_choice",
        ) from exc
    if named not in names:
        raise RequestRefused(
            f"tool_choice: no function is called {named!r}{perhaps(str(named), names)}",
            param="tool_choice",
        )
    return bool(tool.function.name == named)


def _forced(tools: Sequence[Tool]) -> dict[str, Any]:
    """Return the form of one call, which is the whole answer: JSON without its markers."""
    schemas = [tool.schema_of_call() for tool in tools]
    return {"json_schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}


def with_tools(messages: Sequence[Mapping[str, Any]], use: ToolUse) -> list[dict[str, Any]]:
    """Return messages of which the first, a system text, tells of the functions; calls as text.

    All models are told in the same way, for which any chat template will do.
    """
    found = [_plain(message) for message in messages]
    if not use.tools:
        return found
    if not found or found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": ""})
    functions = "\n".join(
        json.dumps(tool.model_dump(exclude_none=True), ensure_ascii=False) for tool in use.tools
    )
    told = (
        "You may call functions. These are their signatures, one JSON object a line:\n"
        f"<tools>\n{functions}\n</tools>\n"
        f"To call one, answer with a JSON object between {START} and {END}:\n"
        f'{START}\n{{"name": "the function", "arguments": {{"its": "arguments"}}}}\n{END}'
    )
    before = found[0]["content"]
    found[0] = {**found[0], "content": f"{before}\n\n{told}" if before else told}
    return found


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with nothing but a role and a content."""
    content = message["content"]
    if message["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        said = f'{{"name": {json.dumps(function["name"])}, "arguments": {function["arguments"]}}}'
        content = f"{content}\n{START}\n{said}\n{END}".lstrip()
    return {"role": message["role"], "content": content}


@dataclass(frozen=True)
class Called:
    """A call that the model makes."""

    name: str
    arguments: str

    def as_json(self, index: int | None = None) -> dict[str, Any]:
        """Return it as OpenAI's interface has it, with a number where it is streamed."""
        function = {"name": self.name, "arguments": self.arguments}
        number = {} if index is None else {"index": index}
        call_id = f"call_{secrets.token_hex(12)}"
        return {**number, "id": call_id, "type": "function", "function": function}


class CallReader:
    """Reads calls out of an answer as it comes; the rest is text.

    What looks like a call and is none of these functions, or no JSON, stays text.
    """

    def __init__(self, use: ToolUse) -> None:
        self._use = use
        self._held = ""

    def feed(self, text: str) -> tuple[str, list[Called]]:
        """Return the text that can be shown by now, and the calls that are complete."""
        if not self._use.tools:
            return text, []
        self._held += text
        if self._use.form:
            return "", []  # all of it is one call
        said = ""
        calls: list[Called] = []
        while START in self._held:
            before, _, behind = self._held.partition(START)
            inner, end, rest = behind.partition(END)
            if not end:
                # Blanks before a call are no text of their own.
                said, self._held = said + before.rstrip(), START + behind
                return said, calls
            self._held = rest.lstrip()
            called = _read(inner, self._use.names)
            said += before.rstrip() if called else before + START + inner + end
            calls += [called] if called else []
        kept = self._undecided()
        said += self._held[: len(self._held) - kept]
        self._held = self._held[len(self._held) - kept :]
        return said, calls

    def finish(self) -> tuple[str, list[Called]]:
        """Return what was held back."""
        held, self._held = self._held, ""
        called = _read(held.removeprefix(START), self._use.names) if held else None
        return ("", [called]) if called else (held, [])

    def _undecided(self) -> int:
        """Return how much of the end may still belong to a marker, with blanks before it."""
        text = self._held
        for length in range(min(len(START) - 1, len(text)), 0, -1):
            if START.startswith(text[-length:]):
                return length + len(text[:-length]) - len(text[:-length].rstrip())
        return len(text) - len(text.rstrip())


def _read(text: str, names: Sequence[str]) -> Called | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("name") not in names:
        return None
    arguments = found.get("arguments", {})
    if isinstance(arguments, str):
        return Called(found["name"], arguments)
    return Called(found["name"], json.dumps(arguments, ensure_ascii=False))
