"""The gate of chat templates: do two engines, or two texts, make the same prompt of a conversation?

Compared byte for byte over conversations of every kind: what is sent to a model is text, and a
missing line break is another text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ovrecipe.conformance.compare import Difference
from ovrecipe.errors import GateError, PromptRefused
from ovrecipe.run.prompt import ChatTemplate, Clock, special_tokens, template_of

#: What a difference is of, before the name of its conversation.
GATE = "chat template"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place, today.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "A town"}},
            "required": ["place"],
        },
    },
}


class Conversation(NamedTuple):
    """What is rendered, and what it is called in a report."""

    name: str
    messages: Sequence[Mapping[str, str]]
    tools: Sequence[Mapping[str, Any]] | None = None


def turns(*texts: str, system: str = "") -> list[Mapping[str, str]]:
    """Return messages of a user and an assistant in turn, behind a system text if there is one."""
    told = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant")
    return [*told, *({"role": roles[n % 2], "content": text} for n, text in enumerate(texts))]


HELLO, PARIS = "Hello!", "What is the capital of France?"
CONVERSATIONS = (
    Conversation("one question", turns(PARIS)),
    Conversation("several turns", turns(HELLO, "Hello. What can I do?", PARIS)),
    Conversation("a system text", turns(PARIS, system="Answer in one word.")),
    Conversation("a system text and turns", turns(HELLO, "Yes?", PARIS, system="Be short.")),
    Conversation("letters beyond ASCII", turns("Wie heißt 北京 auf Español? 🙂é")),
    Conversation("spaces and lines", turns("  two\n\n  lines\t \n")),
    Conversation("markup", turns("<b>&amp;</b> {{ x }} {% if %} \"quoted\" \\n 'so'")),
    Conversation("thoughts", turns(HELLO, "<think>\nA greeting.\n</think>\n\nYes?", PARIS)),
    Conversation("tools", turns("How is the weather in Rome?"), [WEATHER]),
)

WITHOUT_TOOLS = tuple(each for each in CONVERSATIONS if each.tools is None)

Render = Callable[[Conversation], str]


def differences(
    expected: Render, got: Render, conversations: Sequence[Conversation] = CONVERSATIONS
) -> Iterator[Difference]:
    """Yield each conversation of which two engines make different prompts.

    What the first one refuses is not asked of the other; what only the other refuses differs.
    """
    for conversation in conversations:
        try:
            wanted = expected(conversation)
        except PromptRefused:
            continue
        try:
            found = got(conversation)
        except PromptRefused as error:
            found = error.message
        if found != wanted:
            last = conversation.messages[-1]["content"]
            yield Difference(f"{GATE}, {conversation.name}", last, wanted, found)


def by_ovrecipe(template: ChatTemplate) -> Render:
    """Return how `ovrecipe run` renders."""
    return lambda conversation: template.render(conversation.messages, tools=conversation.tools)


def by_genai(tokenizer: Any) -> Render:
    """Return how GenAI's own engine renders, which other programs on the directory use."""

    def render(conversation: Conversation) -> str:
        tools = {} if conversation.tools is None else {"tools": list(conversation.tools)}
        messages = [dict(message) for message in conversation.messages]
        try:
            text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **tools)
        # Where the engine cuts a text inside a letter, its answer is no text.
        except (RuntimeError, UnicodeDecodeError) as error:
            raise PromptRefused(f"GenAI's engine refuses it: {error}") from error
        return str(text)

    return render


def check_template(checkpoint_dir: Path, tokenizer_dir: Path, *, clock: Clock) -> int:
    """Compare the checkpoint's chat template with the one that the converter wrote.

    Returns how many conversations were compared: none where the checkpoint has no template.

    Raises:
        GateError: they make different prompts; the message shows the first.
    """
    own = template_of(checkpoint_dir)
    if own is None:
        return 0
    written = template_of(tokenizer_dir)
    if written is None:
        raise GateError(
            "the converted tokenizer has no chat template, and the checkpoint has one",
            remedy="use another 'tokenizer.converter', or write prompt.chat_template",
        )
    expected, got = (
        by_ovrecipe(ChatTemplate(text, special_tokens=special_tokens(folder), clock=clock))
        for text, folder in ((own, checkpoint_dir), (written, tokenizer_dir))
    )
    found = list(differences(expected, got))
    if found:
        raise GateError(
            f"{len(found)} of {len(CONVERSATIONS)} conversations become another prompt than with "
            f"the checkpoint's own chat template; the first:\n{found[0].describe()}",
            remedy="use another 'tokenizer.converter', or write prompt.chat_template",
        )
    return len(CONVERSATIONS)
