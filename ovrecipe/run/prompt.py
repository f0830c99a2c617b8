"""From messages to the text that the model sees: the one renderer of chat templates.

A built directory carries all it takes: `chat_template.jinja`, and in `tokenizer_config.json` the
special tokens and the `PromptSettings`. Gates of a build render with the same class.

Source: transformers `utils/chat_template_utils.py` (5.5), Jinja2 3.1. GenAI's own engine does not
know all of Jinja2, so it is never asked.
"""

from __future__ import annotations

import json
import re
import secrets
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError

from ovrecipe.errors import ArtifactCorrupt, PromptRefused
from ovrecipe.json_files import CHAT_TEMPLATE, TOKENIZER_CONFIG, read_object
from ovrecipe.recipe.problems import problems_of

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.parser import Parser

#: Where tokenizer_config.json has the `PromptSettings`; other programs pass over it.
SECTION = "ovrecipe"

#: One message: its role and its content.
Message = Mapping[str, str]
Clock = Callable[[], datetime]


class PromptSettings(BaseModel):
    """What a built directory says of its prompts beside the template."""

    model_config = ConfigDict(frozen=True)

    add_special_tokens: bool = False
    #: What the template writes where no message says a system text.
    system: str = ""
    #: What the tokenizer reads as control tokens, and messages must not smuggle in.
    control_tokens: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """A prompt; no token may span one of the `cuts`, or text of a message becomes a control token.

    They are positions in `text`, and there are none unless a message holds such a text.
    """

    text: str
    cuts: tuple[int, ...] = ()


def local_now() -> datetime:
    """Return the time of day here; chat templates may write the date."""
    return datetime.now(tz=UTC).astimezone()


class ChatTemplate:
    """A compiled template with the special tokens that it may write."""

    def __init__(
        self,
        text: str,
        *,
        special_tokens: Mapping[str, str] | None = None,
        clock: Clock = local_now,
        settings: PromptSettings | None = None,
    ) -> None:
        """Compile `text`.

        Raises:
            PromptRefused: it is no Jinja template; the message has the line.
        """
        self.settings = settings or PromptSettings()
        self._given: dict[str, Any] = {"documents": None, **(special_tokens or {})}
        self._template = _compiled(text, clock)
        # A single character has no place to be cut.
        known = {token for token in self.settings.control_tokens if len(token) > 1}
        self._known = sorted(known, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, self._known)))

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """Return the prompt for `messages`, up to where the assistant's answer begins.

        `tools` are JSON schemas of functions, as OpenAI's interface has them. Without
        `add_generation_prompt` it is up to where the last message ends.

        Raises:
            PromptRefused: the template does; the message has its line.
        """
        try:
            copies = [dict(message) for message in messages]
            given = {**self._given, "tools": tools, "add_generation_prompt": add_generation_prompt}
            return self._template.render(given, messages=copies)
        except Exception as exc:  # a template can raise anything, and what it raises is its answer
            # Jinja2 rewrites tracebacks so that they point into the template.
            frames = traceback.extract_tb(exc.__traceback__)
            lines = [f", line {frame.lineno}" for frame in frames if frame.filename == "<template>"]
            place = "".join(["chat template", *lines[-1:]])
            raise PromptRefused(f"{place}: {exc or type(exc).__name__}") from exc

    def rendered(self, messages: Sequence[Message]) -> Rendered:
        """Return the prompt, and where to cut it so that text of messages stays text.

        Raises:
            PromptRefused: the template does, it leaves a system text out without saying so, or it
                joins text of messages to other tokens.
        """
        prompt = Rendered(self.render(messages))
        if self._known and any(self._control.search(message["content"]) for message in messages):
            prompt = self._protected(messages, prompt.text)
        for message in messages:
            if message["role"] == "system":
                check_system(message["content"], prompt.text)
        return prompt

    def _protected(self, messages: Sequence[Message], text: str) -> Rendered:
        """Return a prompt with cuts.

        Which control tokens are of messages shows in a second rendering, in which a mark follows
        each of theirs. Templates that look into messages still find what they look for.
        """
        mark = secrets.token_hex(8)
        contents = [self._control.sub(rf"\g<0>{mark}", message["content"]) for message in messages]
        pairs = zip(messages, contents, strict=True)
        marked = self.render([{**message, "content": content} for message, content in pairs])
        found = re.findall(f"({self._control.pattern})({mark})?", marked)
        # A template may cut a message at a token; then the mark is in the way of its next step.
        for candidate in (text, marked.replace(mark, "")):
            tokens = list(self._control.finditer(candidate))
            if [token[0] for token in tokens] == [token for token, _ in found]:
                of_messages = [token for token, (_, of) in zip(tokens, found, strict=True) if of]
                cuts = (cut for token in of_messages for cut in self._cuts(candidate, token))
                return Rendered(candidate, tuple(cuts))
        raise PromptRefused(
            "the chat template makes another special token of one that is in a message",
            remedy="leave it out of the message",
        )

    def _cuts(self, text: str, token: re.Match[str]) -> Sequence[int]:
        """Return where to cut so that nothing that begins in `token` is a control token."""
        ends = sorted(
            (start + len(known), start)
            for start in range(*token.span())
            for known in self._known
            if text.startswith(known, start)
        )
        cuts: list[int] = []
        for end, start in ends:
            if not cuts or not start < cuts[-1] < end:
                cuts.append(end - 1)
        return cuts


def read_template(model_dir: Path, *, clock: Clock = local_now) -> ChatTemplate:
    """Return the chat template of a built directory.

    Raises:
        PromptRefused: there is none, or it is no Jinja template.
        ArtifactCorrupt: the tokenizer's settings are damaged.
    """
    path = model_dir / CHAT_TEMPLATE
    if not path.is_file():
        raise no_template()
    text, settings = path.read_text(encoding="utf-8"), read_settings(model_dir)
    special = special_tokens(model_dir)
    return ChatTemplate(text, special_tokens=special, clock=clock, settings=settings)


def fixed_clock() -> datetime:
    """Return one day for templates that print the date: a gate must not depend on today's."""
    return datetime(2026, 1, 1, tzinfo=UTC)


def rendered(model_dir: Path, prompt: str) -> str:
    """Return what `ovrecipe run` sends to the model for a prompt, on a fixed day."""
    template = read_template(model_dir, clock=fixed_clock)
    return template.render([{"role": "user", "content": prompt}])


def read_settings(model_dir: Path) -> PromptSettings:
    """Return the settings of a built directory; the defaults where an older ovrecipe wrote none.

    Raises:
        ArtifactCorrupt: they are damaged.
    """
    try:
        return PromptSettings.model_validate(tokenizer_config(model_dir).get(SECTION, {}))
    except ValidationError as error:
        first = problems_of(error, model=PromptSettings, loc=(SECTION,))[0]
        raise ArtifactCorrupt(f"{model_dir / TOKENIZER_CONFIG}: {first}") from error


def tokenizer_config(model_dir: Path) -> dict[str, Any]:
    """Return what tokenizer_config.json says; {} without one."""
    return read_object(model_dir / TOKENIZER_CONFIG, error=ArtifactCorrupt)


def special_tokens(model_dir: Path) -> dict[str, str]:
    """Return the model's special tokens by name: `bos_token`, `eos_token` and so on."""
    found = tokenizer_config(model_dir).items()
    named = {name: token for name, token in found if name.endswith("_token")}
    texts = {name: t["content"] if isinstance(t, Mapping) else t for name, t in named.items()}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def template_of(model_dir: Path) -> str | None:
    """Return the chat template of a checkpoint or a converted tokenizer; None without one."""
    path = model_dir / CHAT_TEMPLATE
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = tokenizer_config(model_dir).get("chat_template")
    if isinstance(found, list):
        # Checkpoints of 2024 have several by name.
        named = {one.get("name"): one.get("template") for one in found}
        found = named.get("default")
    return found if isinstance(found, str) else None


def no_template() -> PromptRefused:
    """Return the error for a model whose prompts nobody has described."""
    return PromptRefused(
        "neither the recipe nor the model says how a prompt is written",
        remedy='give the recipe a prompt.template; "{instruction}" alone passes the text as it is',
    )


def check_prompt(text: object, what: str = "the prompt") -> str:
    """Return what a user asks; messages call it `what`.

    Raises:
        PromptRefused: it is no string, blank, or has half a surrogate pair, which nobody tokenizes.
    """
    if not isinstance(text, str):
        raise PromptRefused(f"{what} is a {type(text).__name__}, not a string")
    if not text.strip():
        raise PromptRefused(f"{what} is empty", remedy="ask something")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise PromptRefused(
            f"{what} is not text: character {exc.start + 1} is half a surrogate pair",
            remedy="pass valid UTF-8",
        ) from exc
    return text


def conversation(
    template: ChatTemplate,
    prompt: str,
    *,
    system: str | None = None,
    history: Sequence[Message] = (),
) -> list[Message]:
    """Return the messages that ask `prompt` after `history`.

    Without `system` there is no such message, and the template says the artifact's own; an empty
    one takes that back.

    Raises:
        PromptRefused: the prompt is blank, or not text.
    """
    told = system is not None and (system or template.settings.system)
    first: list[Message] = [{"role": "system", "content": str(system)}] if told else []
    return [*first, *history, {"role": "user", "content": check_prompt(prompt)}]


def check_system(system: str, text: str) -> None:
    """Refuse a system text that a chat template left out of `text` without saying so.

    Raises:
        PromptRefused: the rendered prompt does not contain it.
    """
    if system.strip() not in text:
        raise PromptRefused(
            "the model's chat template has no place for a system text",
            remedy="leave the system text out, or write it into the prompt",
        )


def _compiled(text: str, clock: Clock) -> Template:
    from jinja2 import TemplateError, TemplateSyntaxError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlock(Extension):
        """`{% generation %}`, written for training: it renders its content."""

        tags = {"generation"}  # noqa: RUF012 - the name and kind that Jinja2 asks for

        def parse(self, parser: Parser) -> Node | list[Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: clock().strftime(form)
    try:
        return environment.from_string(text)
    except TemplateSyntaxError as exc:
        raise PromptRefused(f"chat template, line {exc.lineno}: {exc.message}") from exc


def _tojson(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates pass it by position
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON without Jinja2's escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
