"""What OpenAI's interface answers: whole answers, pieces of a stream, and errors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovrecipe import errors
from ovrecipe.errors import OvrecipeError
from ovrecipe.run.openai.reasoning import ReasoningReader
from ovrecipe.run.openai.tools import Called, CallReader

if TYPE_CHECKING:
    from ovrecipe.run.openai.requests import Question

#: The status of HTTP for our errors, and the `code` and `type` of OpenAI's; the first that fits.
STATUS: Sequence[tuple[type[OvrecipeError], int, str | None, str]] = (
    (errors.PromptTooLong, 400, "context_length_exceeded", "invalid_request_error"),
    (errors.RequestRefused, 400, None, "invalid_request_error"),
    (errors.PromptRefused, 400, None, "invalid_request_error"),
    (errors.GenerationParameterRefused, 400, None, "invalid_request_error"),
    (errors.RecipeNotFound, 404, "model_not_found", "invalid_request_error"),
    (errors.NotBuilt, 404, "model_not_found", "invalid_request_error"),
    (errors.NoRoomForModel, 503, "model_not_loaded", "server_error"),
    (errors.EngineBusy, 429, "rate_limit_exceeded", "rate_limit_error"),
    (errors.EngineFailed, 503, "engine_failed", "server_error"),
    (OvrecipeError, 500, None, "server_error"),
)


def error_body(
    message: str, kind: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def told(error: OvrecipeError) -> tuple[int, dict[str, Any]]:
    """Return the status and the body that tell an error."""
    _, status, code, kind = next(row for row in STATUS if isinstance(error, row[0]))
    message = f"{error.message}; {error.remedy}" if error.remedy else error.message
    param = getattr(error, "param", None)
    return status, error_body(message, kind, code=code, param=param)


@dataclass(frozen=True)
class Piece:
    """What came of one choice; the last one has `finish_reason` and the counts."""

    text: str = ""
    logprobs: Sequence[tuple[str, float]] = ()
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass
class Choice:
    """One choice of an answer, as it grows."""

    index: int
    question: Question
    #: Whether the prompt ends within the model's reasoning.
    begins_inside: bool = False
    text: str = ""
    reasoning: str = ""
    calls: list[Called] = field(default_factory=list)
    logprobs: list[tuple[str, float]] = field(default_factory=list)
    last: Piece | None = None

    def __post_init__(self) -> None:
        self._thoughts = ReasoningReader(begins_inside=self.begins_inside)
        self._calls = CallReader(self.question.tools)

    def take(self, piece: Piece) -> dict[str, Any]:
        """Take in what came, and return what is new of a chat message."""
        thought, said = self._thoughts.feed(piece.text)
        if piece.finish_reason is not None:
            more_thought, more_said = self._thoughts.finish()
            thought, said = thought + more_thought, said + more_said
        shown, calls = self._calls.feed(said)
        if piece.finish_reason is not None:
            more, more_calls = self._calls.finish()
            shown, calls = shown + more, calls + more_calls
            self.last = piece
        new: dict[str, Any] = {"reasoning_content": thought} if thought else {}
        if shown:
            new["content"] = shown
        if calls:
            numbers = range(len(self.calls), len(self.calls) + len(calls))
            new["tool_calls"] = [
                call.as_json(number) for number, call in zip(numbers, calls, strict=True)
            ]
        self.text += shown
        self.reasoning += thought
        self.calls += calls
        self.logprobs += piece.logprobs
        return new

    @property
    def finish_reason(self) -> str | None:
        """Why it ended; None while it grows."""
        if self.last is None:
            return None
        return "tool_calls" if self.calls else self.last.finish_reason

    def message(self) -> dict[str, Any]:
        """Return the message of the assistant."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if not self.calls:
            message["content"] = self.text
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls:
            message["tool_calls"] = [call.as_json() for call in self.calls]
        return {**message, "refusal": None}


class Writer:
    """Writes the answers to one request: pieces of a stream, or the whole in the end."""

    def __init__(
        self,
        question: Question,
        model: str,
        *,
        chat: bool,
        begins_inside: Sequence[bool] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.question, self.chat = question, chat
        prefix, kind = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._kind = kind
        self._head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(clock()),
            "model": model,
            "system_fingerprint": None,
        }
        inside = [*begins_inside, *[False] * len(question.asks)]
        self.choices = [
            Choice(number, question, begins_inside=chat and inside[number])
            for number in range(len(question.asks))
        ]

    def whole(self) -> dict[str, Any]:
        """Return the answer of choices that have all ended."""
        choices = [self._whole_choice(choice) for choice in self.choices]
        return {**self._head, "object": self._kind, "choices": choices, "usage": self.usage()}

    def _whole_choice(self, choice: Choice) -> dict[str, Any]:
        said = {"message": choice.message()} if self.chat else {"text": choice.text}
        return {
            "index": choice.index,
            **said,
            "logprobs": self._logprobs(choice.logprobs, 0),
            "finish_reason": choice.finish_reason,
        }

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield what comes before any text: who speaks."""
        if self.chat:
            for choice in self.choices:
                yield self._chunk(choice, {"role": "assistant", "content": ""})

    def chunks(self, index: int, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield what a stream says of the next piece of a choice."""
        choice = self.choices[index]
        offset = len(choice.text)
        if self.chat:
            new = choice.take(piece)
        else:
            choice.text += piece.text
            choice.last = piece if piece.finish_reason else None
            new = {"text": piece.text}
        ended = choice.finish_reason
        if any(new.values()) or piece.logprobs:
            yield self._chunk(choice, new, self._logprobs(piece.logprobs, offset))
        if ended is not None:
            yield self._chunk(choice, {} if self.chat else {"text": ""}, finish_reason=ended)

    def closing(self) -> Iterator[dict[str, Any]]:
        """Yield what comes behind all text: the usage, where it was asked for."""
        if self.question.include_usage:
            kind = "chat.completion.chunk" if self.chat else self._kind
            yield {**self._head, "object": kind, "choices": [], "usage": self.usage()}

    def take(self, index: int, piece: Piece) -> None:
        """Take in what came of a choice, for `whole`."""
        choice = self.choices[index]
        if self.chat:
            choice.take(piece)
            return
        choice.text += piece.text
        choice.logprobs += piece.logprobs
        choice.last = piece if piece.finish_reason else None

    def usage(self) -> dict[str, Any]:
        """Return how many tokens were read and written; a prompt counts once."""
        ended = [choice.last for choice in self.choices if choice.last is not None]
        prompt = sum(last.prompt_tokens for last in ended[:: self.question.n])
        completion = sum(last.completion_tokens for last in ended)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _chunk(
        self,
        choice: Choice,
        new: Mapping[str, Any],
        logprobs: Mapping[str, Any] | None = None,
        *,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": new} if self.chat else dict(new)
        found = {
            "index": choice.index,
            **said,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        kind = "chat.completion.chunk" if self.chat else self._kind
        usage = {"usage": None} if self.question.include_usage else {}
        return {**self._head, "object": kind, "choices": [found], **usage}

    def _logprobs(
        self, logprobs: Sequence[tuple[str, float]], offset: int
    ) -> dict[str, Any] | None:
        if not self.question.logprobs:
            return None
        if self.chat:
            top = self.question.top_logprobs
            return {"content": [_token(*pair, top=top) for pair in logprobs], "refusal": None}
        offsets = []
        for text, _ in logprobs:
            offsets.append(offset)
            offset += len(text)
        return {
            "tokens": [text for text, _ in logprobs],
            "token_logprobs": [value for _, value in logprobs],
            "top_logprobs": [{text: value} for text, value in logprobs],
            "text_offset": offsets,
        }


def _token(text: str, logprob: float, *, top: int) -> dict[str, Any]:
    whole = "\ufffd" not in text
    one = {"token": text, "logprob": logprob, "bytes": list(text.encode()) if whole else None}
    return {**one, "top_logprobs": [one][:top]}
