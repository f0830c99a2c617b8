"""What `run` and `chat` share: their options, which model is meant, and how it is loaded."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer
from typer import Option

from ovrecipe.cli.completion import recipe_argument
from ovrecipe.cli.output import announce, status
from ovrecipe.errors import AnswerUnfinished
from ovrecipe.hooks.roles import Console, Frontend
from ovrecipe.recipe.project import named_by
from ovrecipe.recipe.tasks import GENERATION

if TYPE_CHECKING:
    from ovrecipe.cli.session import Session
    from ovrecipe.hooks.provided import Provided
    from ovrecipe.run.runner import Runner
    from ovrecipe.types import GenerationResult

MaybeTarget = Annotated[
    str | None,
    recipe_argument(
        "NAME[:VARIANT]",
        "What to run; without a variant int4 if built, else the smallest built. "
        "./DIR is what 'ovrecipe export' wrote.",
    ),
]


class Options(NamedTuple):
    """The options of `run` and `chat`, each with the default from which typer reads the rest."""

    device: str | None = Option(None, help="See 'ovrecipe devices'; CPU unless configured.")
    system: str | None = Option(None, help="System text, in place of the recipe's.")
    greedy: bool = Option(False, "--greedy", help="Take the likeliest token, no sampling.")
    seed: int | None = Option(None, help="Seed of the sampling (rng_seed); drawn if not given.")
    max_new_tokens: int | None = Option(None, help="Longest answer, in tokens.")
    temperature: float | None = Option(None, help="Higher is more random; 0 is --greedy.")
    top_p: float | None = Option(None, help="Above 0, up to 1.")
    top_k: int | None = Option(None, help="0 switches it off.")
    more: list[str] | None = Option(
        None,
        *("-g", "--generation"),
        metavar="KEY=VALUE",
        help="Any other parameter of GenAI's GenerationConfig; VALUE is JSON or plain text.",
    )
    schema: Path | None = Option(
        None, metavar="FILE", help="Answer in JSON that fits this JSON schema."
    )
    regex: str | None = Option(None, help="Answer in text that matches it as a whole.")
    grammar: Path | None = Option(
        None, metavar="FILE", help="Answer by this EBNF grammar, whose first rule is `root`."
    )
    adapter: str | None = Option(
        None, help="Answer with this LoRA adapter of the recipe; '' is none."
    )
    draft: str | None = Option(
        None, metavar="NAME:VARIANT", help="Let this model write ahead; '' is none."
    )
    prompt_lookup: bool | None = Option(
        None, help="Write ahead what the prompt goes on with, or do not."
    )
    frontend: str | None = Option(None, help="console, json, jsonl, quiet, or a plugin's.")
    stats: bool = Option(False, "--stats", help="One line of figures on stderr.")
    unaccepted: bool = Option(False, "--unaccepted", help="Open what a gate refused, for study.")

    @property
    def generation(self) -> dict[str, Any]:
        """The generation parameters that were given, named options over those of `-g`."""
        found = dict(parameter(text) for text in self.more or ())
        names = ("max_new_tokens", "temperature", "top_p", "top_k")
        named: dict[str, Any] = {"greedy": self.greedy or None, "rng_seed": self.seed}
        named |= {name: getattr(self, name) for name in names}
        named |= {"json_schema": _text_of(self.schema, "--schema"), "regex": self.regex}
        named["adapter"] = self.adapter
        named["grammar"] = _text_of(self.grammar, "--grammar")
        return found | {name: value for name, value in named.items() if value is not None}

    @property
    def console(self) -> Console:
        """The streams of this process."""
        return Console(out=sys.stdout, err=sys.stderr, stats=self.stats)

    def frontend_of(self, session: Session, target: str) -> Provided[Frontend]:
        """Return who shows the answer; what names nothing is refused before a model is loaded."""
        from ovrecipe.run.exported import export_folder, read_export, recipe_of

        folder = export_folder(target)
        if folder is not None:
            recipe = recipe_of(folder, read_export(folder))
        else:
            recipe, _ = named_by(target, session.recipe)
        return session.plugins.provider("frontend", self.frontend or "console", recipe)

    def opened(self, session: Session, target: str, *, warm_up: bool = False) -> Runner:
        """Load the model; says on stderr which variant was chosen where none was named."""
        from ovrecipe.run.exported import export_folder
        from ovrecipe.run.load import load

        is_export = export_folder(target) is not None
        default = session.defaults.device
        device = self.device or (default.value if default else "CPU")
        with status(f"loading {target} on {device}"):
            runner = load(
                target,
                device,
                project=None if is_export else session.project,
                plugins=session.plugins,
                warm_up=warm_up,
                announce=announce,
                generation=self.generation,
                unaccepted=self.unaccepted,
                task=GENERATION,
                draft=self.draft,
                prompt_lookup=self.prompt_lookup,
            )
        if is_export or ":" not in target:
            announce(f"running {runner.recipe.name}:{runner.variant}")
        return runner


def _text_of(path: Path | None, option: str) -> str | None:
    try:
        return None if path is None else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is not UTF-8"
        raise typer.BadParameter(f"{path}: {reason}", param_hint=option) from exc


def check_whole(result: GenerationResult) -> None:
    """Refuse an answer that ended before it had the form that was asked for.

    Raises:
        AnswerUnfinished: with what helps.
    """
    if result.unfinished is not None:
        ways = {
            "length": "say in the prompt which form you want; allow more with --max-new-tokens N",
            "stop": "stop texts must not occur in the answer",
        }
        raise AnswerUnfinished(result.unfinished, remedy=ways.get(result.finish_reason))


def parameter(text: str) -> tuple[str, Any]:
    """Return the name and value of `-g KEY=VALUE`."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="-g")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of `Options` as options; it gets them as one, `options`."""
    parameters = {**inspect.signature(command, eval_str=True).parameters}
    kind = parameters.pop("options").kind
    defaults = Options._field_defaults
    for name, hint in get_type_hints(Options).items():
        parameters[name] = inspect.Parameter(name, kind, default=defaults[name], annotation=hint)

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(options=Options(**{name: given.pop(name) for name in defaults}), **given)

    called.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
    called.__annotations__ = {name: option.annotation for name, option in parameters.items()}
    return called


def default_target(session: Session) -> str:
    """Return the configured model, and say on stderr which it is and who chose it.

    Raises:
        typer.BadParameter: there is none.
    """
    default = session.defaults.model
    if default is None:
        ways = "set a default: OVRECIPE_MODEL=NAME, or model = 'NAME' in ovrecipe.toml"
        raise typer.BadParameter(f"say which model, or {ways}", param_hint="NAME[:VARIANT]")
    announce(f"the model is {default.value} ({default.where})")
    return default.value
