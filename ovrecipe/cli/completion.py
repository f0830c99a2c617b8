"""What a shell offers when TAB is pressed: the names of recipes and of their variants."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from click.shell_completion import (
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from ovrecipe.errors import OvrecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovrecipe.recipe.project import Project


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the recipes whose names start like that; nothing where there is no project."""
    from ovrecipe.recipe.project import recipe_names

    with suppress(OvrecipeError):
        return [name for name in recipe_names(_project_of(ctx)) if name.startswith(incomplete)]
    return []


def complete_target(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of recipes, with their variants once a single recipe is left."""
    from ovrecipe.recipe.load import load_recipe

    name, colon, _ = incomplete.partition(":")
    found = [] if colon else complete_name(ctx, incomplete)
    if colon or len(found) == 1:
        name = name if colon else found[0]
        with suppress(OvrecipeError):
            found += [
                f"{name}:{variant}" for variant in load_recipe(_project_of(ctx), name).variants
            ]
    return found


def _project_of(ctx: typer.Context) -> Project:
    """Return the project that is meant; the root command is read, and not run, while completing."""
    from ovrecipe.recipe.project import find_project

    named = ctx.find_root().params.get("project")
    env = dict(os.environ) if named is None else {**os.environ, "OVRECIPE_PROJECT": str(named)}
    return find_project(Path.cwd(), env)


#: The argument of commands that take a recipe, or one variant of it.
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:VARIANT]",
        help="A recipe, or one variant of it.",
        autocompletion=complete_target,
    ),
]


def heal_bash() -> None:
    """Teach completion that bash takes NAME:VARIANT for three words, and replaces the last."""
    base: Any = get_completion_class("bash")

    class BashWithColons(base):  # type: ignore[misc]
        """Puts the words together again, and leaves out of the answer what stands there already."""

        def get_completion_args(self) -> tuple[list[str], str]:
            """Return the words before the one to complete, and that one."""
            words = split_arg_string(os.environ["COMP_WORDS"])
            place = int(os.environ["COMP_CWORD"])
            if place >= len(words):
                self.standing = 0
                return list(joined(words[1:])), ""
            *args, incomplete = joined(words[1 : place + 1])
            self.standing = len(incomplete) - len(words[place].lstrip(":"))
            return args, incomplete

        def format_completion(self, item: CompletionItem) -> str:
            """Return what bash shall put in the place of its own last word."""
            return str(item.value[self.standing :])

    add_completion_class(BashWithColons, "bash")


def joined(parts: Sequence[str]) -> Iterator[str]:
    """Yield words as they were typed: `smollm2-135m`, `:`, `int4` is one."""
    word = ""
    for part in parts:
        if word and not word.endswith(":") and not part.startswith(":"):
            yield word
            word = ""
        word += part
    if word:
        yield word
