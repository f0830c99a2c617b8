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
        self._template = template
        self._bos = bos_token if bos_token and template.startswith(bos_token) else ""
        closes = bool(self._bos) or (bool(eos_token) and eos_token in template)
        self._end_of_answer = (eos_token if closes else "") + "\n"

    def render(self, messages: Sequence[Message]) -> str:
        """Return the prompt; placeholders within instructions and answers stay as they are."""
        system = next((each["content"] for each in messages if each["role"] == "system"), "")
        if system and "{system}" not in self._template:
            raise PromptRefused(
                "a system text was given, but the recipe's template has no {system}",
                remedy="write {system} into the recipe's prompt.template, or leave --system out",
            )
        turns = [self._turn(each, system) for each in messages if each["role"] != "system"]
        return self._bos + "".join(turns)

    def _turn(self, message: Message, system: str) -> str:
        if message["role"] == "assistant":
            return message["content"] + self._end_of_answer
        parts = {"instruction": message["content"], "system": system}
        template = self._template.removeprefix(self._bos)
        return PLACEHOLDER.sub(lambda found: parts[found[1]], template)


def prompt_template(recipe: Recipe, model_dir: Path, *, clock: Clock) -> PromptTemplate:
    """Return the recipe's way to write prompts.

    Without a template in the recipe it is the model's own chat template.

    Raises:
        PromptRefused: there is none, or it is no Jinja template.
    """
    special = special_tokens(model_dir)
    prompt = recipe.prompt
    if prompt.template is not None:
        return PlainTemplate(
            prompt.template,
            bos_token=special.get("bos_token", ""),
            eos_token=special.get("eos_token", ""),
        )
    own = prompt.chat_template not in (None, "model")
    text = prompt.chat_template if own else _template_of_model(model_dir, recipe.name)
    return ChatTemplate(str(text), special_tokens=special, clock=clock)


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


def checked_instruction(text: str) -> str:
    """Return `text`, or refuse it.

    Raises:
        PromptRefused: it is blank, or holds half a surrogate pair, which no tokenizer takes.
    """
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
