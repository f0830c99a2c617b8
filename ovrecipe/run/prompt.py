"""From an instruction, or a conversation, to the text that the model sees."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ovrecipe.errors import PromptRefused
from ovrecipe.run.chat_template import ChatTemplate, Clock, Message

if TYPE_CHECKING:
    from pathlib import Path

    from ovrecipe.recipe.schema import Recipe

PLACEHOLDER = re.compile(r"\{(instruction|system)\}")
NO_SYSTEM = "a system text was given, but the recipe's template has no {system}"
NO_SYSTEM_REMEDY = "write {system} into the recipe's prompt.template, or leave --system out"


class PromptTemplate(Protocol):
    """Renders a conversation."""

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt, up to where the assistant's answer begins."""


class PlainTemplate:
    """The recipe's own `prompt.template`.

    A conversation is its turns in sequence: each instruction in the template, its answer behind
    it, then a new line. The BOS token that a template starts with is written once; a template
    that writes BOS or EOS gets EOS behind each answer, as the model saw it in training.
    """

    def __init__(self, template: str, *, bos_token: str = "", eos_token: str = "") -> None:
        self._bos = bos_token if bos_token and template.startswith(bos_token) else ""
        closes = bool(self._bos) or (bool(eos_token) and eos_token in template)
        self._end_of_answer = (eos_token if closes else "") + "\n"
        #: Literal text and names of placeholders in turn, beginning and ending with text.
        self._parts = PLACEHOLDER.split(template.removeprefix(self._bos))

    @property
    def _takes_system(self) -> bool:
        return "system" in self._parts[1::2]

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt; placeholders within instructions and answers stay as they are."""
        system = next((each["content"] for each in messages if each["role"] == "system"), "")
        if system and not self._takes_system:
            raise PromptRefused(NO_SYSTEM, remedy=NO_SYSTEM_REMEDY)
        turns = [self._turn(each, system) for each in messages if each["role"] != "system"]
        return self._bos + "".join(turns)

    def _turn(self, message: Message, system: str) -> str:
        if message["role"] == "assistant":
            return message["content"] + self._end_of_answer
        given = {"instruction": message["content"], "system": system}
        return "".join(given[part] if index % 2 else part for index, part in enumerate(self._parts))

    def to_jinja(self, *, system: str = "") -> str:
        """Return a chat template that renders as `render` does, for other programs.

        They do not know the recipe's `system`, so the template says it where no message does.
        Only what both Jinja2 and GenAI's engine know is used.
        """
        given = {"instruction": "message['content']", "system": "told.system"}
        turn = " + ".join(
            given[part] if index % 2 else _literal(part) for index, part in enumerate(self._parts)
        )
        refusal = f"{{{{ raise_exception({_literal(NO_SYSTEM)}) }}}}"
        refused = "" if self._takes_system else f"{{%- if told.system -%}}{refusal}{{%- endif -%}}"
        return (
            f"{{%- set told = namespace(system={_literal(system)}, known=false) -%}}"
            "{%- for message in messages -%}"
            "{%- if message['role'] == 'system' and not told.known -%}"
            "{%- set told.system = message['content'] -%}{%- set told.known = true -%}"
            f"{{%- endif -%}}{{%- endfor -%}}{refused}{{{{ {_literal(self._bos)} }}}}"
            "{%- for message in messages -%}"
            "{%- if message['role'] == 'assistant' -%}"
            f"{{{{ message['content'] + {_literal(self._end_of_answer)} }}}}"
            f"{{%- elif message['role'] != 'system' -%}}{{{{ {turn} }}}}"
            "{%- endif -%}{%- endfor -%}"
        )


def _literal(text: str) -> str:
    """Return a string of Jinja2: as in JSON, but letters outside ASCII stay as they are."""
    return json.dumps(text, ensure_ascii=False)


def prompt_template(recipe: Recipe, model_dir: Path, *, clock: Clock) -> PromptTemplate:
    """Return the recipe's way to write prompts.

    Without a template in the recipe it is the model's own chat template.

    Raises:
        PromptRefused: there is none, or it is no Jinja template.
    """
    special = special_tokens(model_dir)
    prompt = recipe.prompt
    if prompt.template is not None:
        return plain_template(prompt.template, special)
    own = prompt.chat_template not in (None, "model")
    text = prompt.chat_template if own else _template_of_model(model_dir, recipe.name)
    return ChatTemplate(str(text), special_tokens=special, clock=clock)


def plain_template(template: str, special: Mapping[str, str]) -> PlainTemplate:
    """Return the recipe's own template with the model's special tokens."""
    bos_token, eos_token = special.get("bos_token", ""), special.get("eos_token", "")
    return PlainTemplate(template, bos_token=bos_token, eos_token=eos_token)


def special_tokens(model_dir: Path) -> dict[str, str]:
    """Return the model's special tokens by name: `bos_token`, `eos_token` and so on."""
    found = _tokenizer_config(model_dir)
    texts = {
        name: token["content"] if isinstance(token, Mapping) else token
        for name, token in found.items()
        if name.endswith("_token")
    }
    return {name: token for name, token in texts.items() if isinstance(token, str)}


def _template_of_model(model_dir: Path, name: str) -> str:
    path = model_dir / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = _tokenizer_config(model_dir).get("chat_template")
    if isinstance(found, str):
        return found
    raise PromptRefused(
        f"{name}: neither the recipe nor the model says how a prompt is written",
        remedy='give the recipe a prompt.template; "{instruction}" alone passes the text as it is',
    )


def _tokenizer_config(model_dir: Path) -> dict[str, Any]:
    path = model_dir / "tokenizer_config.json"
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def checked_instruction(text: object) -> str:
    """Return `text`, or refuse it.

    Raises:
        PromptRefused: it is no string, is blank, or holds half a surrogate pair, which no
            tokenizer takes.
    """
    if not isinstance(text, str):
        raise PromptRefused(f"the instruction is a {type(text).__name__}, not a string")
    if not text.strip():
        raise PromptRefused("the instruction is empty", remedy="ask something")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise PromptRefused(
            f"the instruction is not text: character {exc.start + 1} is half a surrogate pair",
            remedy="pass valid UTF-8",
        ) from exc
    return text


def checked_system(system: str, prompt: str) -> None:
    """Refuse a system text that a chat template left out without saying so.

    Raises:
        PromptRefused: the rendered prompt does not contain it.
    """
    if system.strip() not in prompt:
        raise PromptRefused(
            "the model's chat template has no place for a system text",
            remedy="leave the system text out, or write it into the instruction",
        )
