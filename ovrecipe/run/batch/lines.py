"""Lines of a batch: what each asks, and the line that answers it.

A line is OpenAI's (`{"custom_id": ..., "method": "POST", "url": ..., "body": {...}}`), or plain: an
object with `instruction`, `prompt` (the same) or `messages`, and if wanted `system` and
`generation`; whatever else is in it comes back with the answer.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovrecipe.errors import GenerationParameterRefused, OvrecipeError, RequestRefused
from ovrecipe.run.openai.answers import Piece, Writer, told
from ovrecipe.run.openai.reasoning import begins_reasoning
from ovrecipe.run.openai.requests import (
    ChatRequest,
    CompletionRequest,
    Prompt,
    Question,
    read_request,
)
from ovrecipe.run.parameters import form_of
from ovrecipe.run.prepared import conversation_of
from ovrecipe.run.prompt import ChatTemplate, conversation
from ovrecipe.types import GenerationResult

#: The paths that a line of OpenAI's may name.
URLS: Mapping[str, type[ChatRequest | CompletionRequest]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
}
ASKS = ("instruction", "prompt", "messages")
#: What an engine is told beside generation parameters, by the same names.
TAKEN = {"self", "prompt", "deliver", "messages", "logprobs"}
#: What this program adds to a plain line.
ADDED = ("answer", "finish_reason", "prompt_tokens", "generated_tokens", "seed", "error")


@dataclass(eq=False)
class Line:
    """A line that is being answered; `row` is what answers it, once that is known."""

    number: int
    given: dict[str, Any]
    question: Question
    writer: Writer | None = None
    #: What came of each prompt: the answer, and the probabilities of its tokens.
    ended: dict[int, tuple[GenerationResult, Sequence[tuple[str, float]]]] = field(
        default_factory=dict
    )
    row: dict[str, Any] | None = None
    #: Whether it was being answered when an engine failed.
    suspected: bool = False

    @property
    def asks(self) -> Sequence[tuple[Prompt, Mapping[str, Any]]]:
        """The prompts, each with its parameters."""
        return self.question.asks

    def refuse(self, error: OvrecipeError) -> None:
        """Answer with an error."""
        self.row = error_row(self.given, self.number, error)

    def take(
        self, index: int, result: GenerationResult, logprobs: Sequence[tuple[str, float]]
    ) -> None:
        """Take the answer to one prompt; the row is known with the last of them."""
        self.ended[index] = (result, logprobs)
        if len(self.ended) == len(self.asks):
            self.row = self._answered(result)

    def begin_again(self) -> None:
        """Forget what has come of it: all its prompts are asked again."""
        self.ended.clear()

    def _answered(self, result: GenerationResult) -> dict[str, Any]:
        if self.writer is not None:
            for index, (one, logprobs) in sorted(self.ended.items()):
                self.writer.take(index, _whole_piece(one, logprobs))
            return _openai_row(self.given, 200, self.writer.whole(), None)
        answered = {"answer": result.text, "finish_reason": result.finish_reason}
        counts = {
            "prompt_tokens": result.prompt_tokens,
            "generated_tokens": result.generated_tokens,
        }
        seed = {} if result.seed is None else {"seed": result.seed}
        return {**kept_of(self.given), **answered, **counts, **seed}


def read_line(
    text: str,
    number: int,
    *,
    template: ChatTemplate,
    generation: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Line:
    """Return what a line asks; one that asks nothing that can be answered has its row already.

    `generation` counts for plain lines that say nothing else; `own` are the artifact's parameters.
    """
    line = Line(number, {}, Question(()))
    try:
        line.given = _object(text)
        if is_openai(line.given):
            _read_openai(line, template, own)
        else:
            _read_plain(line, template, generation)
    except OvrecipeError as error:
        line.refuse(error)
    return line


def is_openai(given: Mapping[str, Any]) -> bool:
    """Return whether a line is one of OpenAI's."""
    return "body" in given and ("custom_id" in given or "url" in given)


def error_row(given: Mapping[str, Any], number: int, error: OvrecipeError) -> dict[str, Any]:
    """Return the line that says what went wrong with another."""
    status, body = told(error)
    if is_openai(given):
        return _openai_row(given, status, body, None)
    said = {"type": type(error).__name__, "message": body["error"]["message"]}
    # A line that is no object cannot be given back.
    return {**(kept_of(given) or {"line": number}), "error": said}


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise RequestRefused(f"the line is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise RequestRefused("the line is not a JSON object")
    return found


def written(row: Mapping[str, Any]) -> str:
    """Return a row as the line that is written."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def kept_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a plain line comes back with its answer."""
    return {key: value for key, value in given.items() if key not in ADDED}


def _read_openai(line: Line, template: ChatTemplate, own: Mapping[str, Any]) -> None:
    url, body = line.given.get("url", "/v1/chat/completions"), line.given["body"]
    if not isinstance(url, str) or url not in URLS:
        raise RequestRefused(f"url: must be one of {', '.join(URLS)}, got {url!r}", param="url")
    if line.given.get("method", "POST") != "POST":
        raise RequestRefused("method: must be POST", param="method")
    if not isinstance(body, dict):
        raise RequestRefused("body: is not an object", param="body")
    # The model is the one that was loaded; who calls it what is not for us to say.
    request = read_request(URLS[url], {"model": "", **body})
    if request.stream:
        raise RequestRefused("stream: a line of a file cannot be streamed", param="stream")
    line.question = request.question()
    is_chat = isinstance(request, ChatRequest)
    inside = []
    if is_chat:
        # All choices answer one conversation.
        messages, parameters = line.asks[0]
        prompt = template.rendered(conversation_of(messages)).text
        inside = [begins_reasoning(prompt, form_of(parameters, own))] * len(line.asks)
    line.writer = Writer(line.question, request.model, chat=is_chat, begins_inside=inside)


def _read_plain(line: Line, template: ChatTemplate, generation: Mapping[str, Any]) -> None:
    given = line.given
    named = [key for key in ASKS if key in given]
    if len(named) != 1:
        found = f"has {' and '.join(named)}" if named else "has none"
        raise RequestRefused(f"a line has one of {', '.join(ASKS)}; this one {found}")
    own = given.get("generation", {})
    if not isinstance(own, dict):
        raise RequestRefused("generation: is not an object", param="generation")
    for name in TAKEN & own.keys():
        raise GenerationParameterRefused(f"{name}: cannot be given as a generation parameter")
    asked = given[named[0]]
    if named[0] == "messages":
        request = read_request(ChatRequest, {"model": "", "messages": asked})
        messages = request.question().asks[0][0]
    else:
        messages = conversation(template, asked, system=given.get("system"))
    line.question = Question([(messages, {**generation, **own})])


def _whole_piece(result: GenerationResult, logprobs: Sequence[tuple[str, float]]) -> Piece:
    return Piece(
        result.text,
        logprobs,
        result.finish_reason,
        result.prompt_tokens,
        result.generated_tokens or 0,
    )


def _openai_row(
    given: Mapping[str, Any], status: int, body: Mapping[str, Any], error: Any
) -> dict[str, Any]:
    request_id = secrets.token_hex(12)
    return {
        "id": f"batch_req_{request_id}",
        "custom_id": given.get("custom_id"),
        "response": {"status_code": status, "request_id": f"req_{request_id}", "body": body},
        "error": error,
    }
