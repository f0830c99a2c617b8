"""Requests of OpenAI's interface, and what they mean to an engine.

A field is honoured, known to change nothing here, or refused by name; none is passed over.
Source: OpenAI's API reference (chat and completions), with the additions of other servers that
GenAI can honour (`top_k`, `min_p`, `repetition_penalty`, `min_tokens`, `ignore_eos`, `grammar`,
`guided_regex`).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ovrecipe.errors import RequestRefused
from ovrecipe.recipe.problems import problems_of
from ovrecipe.run.openai.tools import Tool, ToolUse, chosen_tools, with_tools
from ovrecipe.run.parameters import SEEDS
from ovrecipe.run.prompt import Message, check_prompt

#: Fields of OpenAI's and others that cannot be honoured here, and why.
REFUSED = {
    "logit_bias": "GenAI has no such parameter",
    "functions": "was replaced by 'tools'",
    "function_call": "was replaced by 'tool_choice'",
    "best_of": "answers are not ranked; ask for n of them",
    "suffix": "text is not filled in",
    "echo": "the prompt is not given back",
    "prompt_logprobs": "the prompt's probabilities are not given",
    "audio": "only text comes out",
    "prediction": "is not used",
    "web_search_options": "nothing is searched",
    "use_beam_search": "beams are not streamed",
    "adapters": "an adapter belongs to a recipe, and has a model name of its own",
    "lora": "an adapter belongs to a recipe, and has a model name of its own",
    "extra_body": "is a parameter of the Python client; its content belongs here",
}
#: Fields that say something about the request to others, and nothing about the answer.
WITHOUT_EFFECT = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
)  # fmt: skip
MOST_ANSWERS = 128
MOST_TOKENS = 2**31 - 1
Penalty = Annotated[float, Field(ge=-2, le=2)]
Count = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of a request: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(Section):
    """What comes with a stream."""

    include_usage: bool = False


class JsonSchema(Section):
    """A schema that the answer keeps; it is always kept, so `strict` changes nothing."""

    name: str = "answer"
    description: str | None = None
    # `schema` is a name of pydantic's own.
    schema_: dict[str, Any] | bool = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Section):
    """What the answer looks like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def form(self) -> dict[str, Any]:
        """Return the parameter that the answer is held to; {} for any text.

        Raises:
            RequestRefused: the schema is missing.
        """
        if self.type == "text":
            return {}
        if self.type == "json_object":
            return {"json_schema": {"type": "object"}}
        if self.json_schema is None:
            raise RequestRefused("response_format.json_schema: is missing", param="response_format")
        return {"json_schema": self.json_schema.schema_}


class Common(Section):
    """What chat and completions have in common."""

    model: str
    max_tokens: Count | None = None
    min_tokens: Count | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None
    grammar: str | None = None
    guided_regex: str | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: means nothing without stream: true")
        forms = (self.grammar, self.guided_regex, self.response_format)
        if sum(one is not None for one in forms) > 1:
            raise ValueError("give one of response_format, grammar and guided_regex")
        return self

    def parameters(self) -> dict[str, Any]:
        """Return the generation parameters, by GenAI's names."""
        cold = self.temperature == 0
        sampling = () if cold else ("top_p", "top_k", "min_p")
        names = ("temperature", "presence_penalty", "frequency_penalty", "repetition_penalty")
        found = {name: getattr(self, name) for name in (*names, *sampling, "ignore_eos")}
        found |= {"max_new_tokens": self.max_tokens, "min_new_tokens": self.min_tokens}
        found["stop_strings"] = [self.stop] if isinstance(self.stop, str) else self.stop
        if found.get("top_k") == -1:
            found["top_k"] = 0  # others switch it off with -1
        return {name: value for name, value in found.items() if value is not None}

    def form(self) -> dict[str, Any]:
        """Return the parameter that the answer is held to; {} where none is."""
        if self.grammar is not None:
            return {"grammar": self.grammar}
        if self.guided_regex is not None:
            return {"regex": self.guided_regex}
        return self.response_format.form() if self.response_format is not None else {}


class TextPart(Section):
    """A part of a message."""

    type: Literal["text"]
    text: str


class CalledFunction(Section):
    """A function that a model called before."""

    name: str
    arguments: str


class ToolCall(Section):
    """A call of the model's in an earlier turn."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Section):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("content: is missing")
        return self

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class ChatRequest(Common):
    """A request to `/v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _can_be_honoured(self) -> Self:
        if (self.top_logprobs or 0) > 1:
            raise ValueError(
                "top_logprobs: only the chosen token's probability is known; at most 1"
            )
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs: means nothing without logprobs: true")
        if self.max_tokens and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("give one of max_tokens and max_completion_tokens")
        return self

    def question(self) -> Question:
        """Return what the request means.

        Raises:
            RequestRefused, PromptRefused: it cannot be honoured.
        """
        parameters = self.parameters()
        if self.max_completion_tokens is not None:
            parameters["max_new_tokens"] = self.max_completion_tokens
        use = chosen_tools(self.tools or (), self.tool_choice, parallel=self.parallel_tool_calls)
        form = self.form()
        if use.form and form:
            raise RequestRefused(
                "tool_choice: a call that must be made and response_format exclude each other",
                param="tool_choice",
            )
        messages = with_tools([_message(message) for message in self.messages], use)
        for message in self.messages:
            is_question = message is self.messages[-1] and message.role == "user"
            if is_question or message.text.strip():
                check_prompt(message.text)
        asks = tuple(_seeded([messages], self, {**parameters, **form, **use.form}))
        return Question(
            asks,
            n=self.n or 1,
            logprobs=bool(self.logprobs),
            top_logprobs=self.top_logprobs or 0,
            stream=bool(self.stream),
            include_usage=_usage(self),
            tools=use,
        )


Ids: TypeAlias = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionRequest(Common):
    """A request to `/v1/completions`: the prompt is what the model sees, without a template."""

    prompt: str | Annotated[list[str] | Ids | list[Ids], Field(min_length=1, max_length=128)]
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None

    @model_validator(mode="after")
    def _can_be_honoured(self) -> Self:
        if (self.logprobs or 0) > 1:
            raise ValueError("logprobs: only the chosen token's probability is known; at most 1")
        return self

    def question(self) -> Question:
        """Return what the request means.

        Raises:
            RequestRefused, PromptRefused: it cannot be honoured.
        """
        given: Any = self.prompt
        single = isinstance(given, str) or isinstance(given[0], int)
        prompts = [given] if single else list(given)
        if len(prompts) * (self.n or 1) > MOST_ANSWERS:
            raise RequestRefused(
                f"n: {self.n} answers to each of {len(prompts)} prompts are more than "
                f"{MOST_ANSWERS} together",
                param="n",
            )
        for prompt in prompts:
            if isinstance(prompt, str):
                check_prompt(prompt)
        asks = tuple(_seeded(prompts, self, {**self.parameters(), **self.form()}))
        return Question(
            asks,
            n=self.n or 1,
            logprobs=self.logprobs is not None,
            stream=bool(self.stream),
            include_usage=_usage(self),
        )


class TokenizeRequest(Section):
    """A request to `/tokenize`, as llama.cpp and vLLM have it."""

    model: str | None = None
    content: str | None = None
    prompt: str | None = None
    messages: list[ChatMessage] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        given = (self.content, self.prompt, self.messages)
        if sum(one is not None for one in given) != 1:
            raise ValueError("give one of content, prompt and messages")
        return self

    def asks(self) -> Prompt:
        """Return what is read."""
        if self.messages is not None:
            return with_tools([_message(message) for message in self.messages], ToolUse())
        return self.content if self.content is not None else self.prompt or ""


class DetokenizeRequest(Section):
    """A request to `/detokenize`."""

    model: str | None = None
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=1_000_000)]


Prompt: TypeAlias = "Sequence[Message] | str | Sequence[int]"


@dataclass(frozen=True)
class Question:
    """What an engine is asked for one request; each prompt with its parameters is one choice."""

    asks: Sequence[tuple[Prompt, Mapping[str, Any]]]
    #: How many choices each prompt has; those of one prompt follow each other.
    n: int = 1
    logprobs: bool = False
    #: How many of the likeliest tokens a chat's answer names beside each; 0 or 1.
    top_logprobs: int = 0
    stream: bool = False
    include_usage: bool = False
    tools: ToolUse = field(default_factory=ToolUse)


def read_request(kind: type[Section], body: Any) -> Any:
    """Return a request of that kind, from JSON as text or as objects.

    Raises:
        RequestRefused: with the field, and why.
    """
    try:
        if isinstance(body, bytes | str):
            from pydantic_core import from_json

            body = from_json(body, allow_inf_nan=False)
        if isinstance(body, dict):
            for name, reason in REFUSED.items():
                if body.get(name) not in (None, False, [], {}):
                    raise RequestRefused(f"{name}: is not supported: {reason}", param=name)
            body = {key: value for key, value in body.items() if key not in REFUSED}
        return kind.model_validate(body)
    except ValidationError as error:
        first = problems_of(error, model=kind)[0]
        # What contradicts something else has no place, and says itself what it is about.
        named = str(first.loc[0]) if first.loc else first.reason.partition(":")[0]
        param = named if named in kind.model_fields else None
        raise RequestRefused(str(first), param=param) from error
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"the body is not JSON: {error}") from error


def _message(message: ChatMessage) -> dict[str, Any]:
    """Return a message as chat templates have them."""
    role = "system" if message.role == "developer" else message.role
    found: dict[str, Any] = {"role": role, "content": message.text}
    if message.tool_calls:
        found["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    if message.tool_call_id is not None:
        found["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        found["name"] = message.name
    if message.reasoning_content is not None:
        found["reasoning_content"] = message.reasoning_content
    return found


def _seeded(
    prompts: Sequence[Prompt], request: Common, parameters: Mapping[str, Any]
) -> Iterator[tuple[Prompt, Mapping[str, Any]]]:
    """Yield each prompt as often as it is asked, with seeds that follow each other."""
    n = request.n or 1
    first = secrets.randbelow(SEEDS) if request.seed is None and n > 1 else request.seed
    for prompt in prompts:
        for number in range(n):
            seed = {} if first is None else {"rng_seed": (first + number) % 2**63}
            yield prompt, {**parameters, **seed}


def _usage(request: Common) -> bool:
    return request.stream_options is not None and request.stream_options.include_usage
