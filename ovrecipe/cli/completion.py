"""What a shell offers when TAB is pressed: the names of recipes and of their variants."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from click import shell_completion

from ovrecipe.cli.session import Session
from ovrecipe.errors import OvrecipeError


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the recipes whose names start like that; nothing where there is no project."""
    with suppress(OvrecipeError):
        return [name for name in _session(ctx).recipe_names() if name.startswith(incomplete)]
    return []


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of recipes, with their variants once a single recipe is left."""
    name, colon, _ = incomplete.partition(":")
    found = [] if colon else complete_name(ctx, incomplete)
    if colon or len(found) == 1:
        name = name if colon else found[0]
        with suppress(OvrecipeError):
            found += [f"{name}:{variant}" for variant in _session(ctx).recipe(name).variants]
    return found


def _session(ctx: typer.Context) -> Session:
    """Return the session that is meant; the root command is read, and not run, while completing."""
    named = ctx.find_root().params.get("project")
    project = {} if named is None else {"OVRECIPE_PROJECT": str(named)}
    return Session(env={**os.environ, **project}, cwd=Path.cwd())


def recipe_argument(metavar: str, text: str, complete: Any = complete_target) -> Any:
    """Return typer's argument for what names recipes or variants, offered when TAB is pressed."""
    return typer.Argument(metavar=metavar, help=text, autocompletion=complete)


TargetArgument = Annotated[
    str, recipe_argument("NAME[:VARIANT]", "A recipe, or one variant of it.")
]


def heal_bash() -> None:
    """Teach completion that bash takes NAME:VARIANT for three words, and replaces the last."""
    base: Any = shell_completion.get_completion_class("bash")

    class BashWithColons(base):  # type: ignore[misc]
        """Puts the words together again, and leaves out of the answer what stands there already."""

        def get_completion_args(self) -> tuple[list[str], str]:
            """Return the words before the one to complete, and that one."""
            words = shell_completion.split_arg_string(os.environ["COMP_WORDS"])
            place = int(os.environ["COMP_CWORD"])
            if place >= len(words):
                self.standing = 0
                return joined(words[1:]), ""
            *args, incomplete = joined(words[1 : place + 1])
            self.standing = len(incomplete) - len(words[place].lstrip(":"))
            return args, incomplete

        def format_completion(self, item: shell_completion.CompletionItem) -> str:
            """Return what bash shall put in the place of its own last word."""
            return str(item.value[self.standing :])

    shell_completion.add_completion_class(BashWithColons, "bash")


def joined(parts: Sequence[str]) -> list[str]:
    """Return words as they were typed: `smollm2-135m`, `:`, `int4` is one."""
    text = re.sub("\n?:\n?", ":", "\n".join(parts))
    return [word for word in text.split("\n") if word]
