"""A provider together with who provided it: traits, options, what a cache key says of it, blame."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import BaseModel, StrictBool, StrictInt, ValidationError, field_validator

from ovrecipe.errors import OvrecipeError, PluginError, RecipeInvalid, is_disk_full
from ovrecipe.hooks.loading import INSTALL_BUILD, PluginSource, lacks_build_extra
from ovrecipe.hooks.roles import PROTOCOLS, Estimate, Role, Toolchain, ToolchainChoice
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.problems import problems_of
from ovrecipe.recipe.sections import Objection, Section
from ovrecipe.recipe.tasks import GENERATION, TaskName
from ovrecipe.types import Json
from ovrecipe.wording import one_line, perhaps

if TYPE_CHECKING:
    from ovrecipe.recipe.schema import Recipe
    from ovrecipe.recipe.yaml_reader import Loc

P_co = TypeVar("P_co", covariant=True)
Model = TypeVar("Model", bound=BaseModel)
#: Methods that a provider may leave out, and what they answer: several, but one of `SINGLE`.
OPTIONAL_METHODS: Mapping[str, type] = {
    "objections": Objection,
    "problems": str,
    "estimate": Estimate,
    "toolchain": ToolchainChoice,
}
SINGLE = (Estimate, ToolchainChoice)


class Traits(BaseModel):
    """What a provider may say of itself in attributes of these names; each may be left out."""

    #: The class of the options that a recipe gives it; without one it takes none.
    options_model: type[BaseModel] | None = None
    #: Distributions that decide what is written; asked for a key they need not be installed.
    packages: tuple[str, ...] = ()
    #: Raised when the provider's own code would write other bytes.
    version: StrictInt = 1
    #: False where torch shall not be importable: transformers and NNCF would import it unasked.
    needs_torch: StrictBool = True
    #: Environments that an exporter brings, of which `toolchain` and recipes choose by name.
    toolchains: tuple[Toolchain, ...] = ()
    #: What an exporter or a tokenizer converter works for; recipes of other tasks are refused.
    tasks: tuple[TaskName, ...] = (GENERATION,)
    #: Whether the answer of `pin` is kept in `ovrecipe.lock`, and renewed by `--update` only.
    needs_pin: StrictBool = False
    #: The fields of `CompressionPass` that a compressor uses, of which others are refused; or all.
    knobs: tuple[str, ...] | None = None
    #: Whether a filter is for the eyes only: the next prompt has the text without it.
    display_only: StrictBool = False

    @field_validator("knobs")
    @classmethod
    def _knobs_are_some(cls, knobs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = CompressionPass.model_fields
        for name in (name for name in knobs or () if name not in known):
            raise ValueError(f"a pass has no knob {name!r}{perhaps(name, known)}")
        return knobs

    @classmethod
    def of(cls, provider: object) -> Traits:
        """Return the traits of a provider; pydantic's error tells of wrong ones."""
        names = [name for name in cls.model_fields if hasattr(provider, name)]
        return cls.model_validate({name: getattr(provider, name) for name in names})


def provider_problems(role: Role, provider: Any) -> list[str]:
    """Return what keeps `provider` from being used for `role`; empty when all is well."""
    is_class = inspect.isclass(provider)
    if role == "recipe_section":
        fits = is_class and issubclass(provider, BaseModel)
        return [] if fits else [f"{provider!r} is no pydantic class"]
    if role == "command":
        return [] if callable(provider) else [f"{provider!r} cannot be called"]
    try:
        Traits.of(provider)
        found = []
    except ValidationError as error:
        found = [*map(str, problems_of(error, model=Traits))]
    if role == "output_filter" and not is_class:
        found += _call_problems("it", provider, "pieces", "options")
    else:
        found += _method_problems(role, provider)
    if is_class and provider.__init__ is not object.__init__:
        found += _call_problems(provider.__name__, provider, "options")
    return found


def _method_problems(role: Role, provider: Any) -> Iterator[str]:
    for name, method in vars(PROTOCOLS[role]).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            _self, *arguments = inspect.signature(method).parameters
            if (own := getattr(provider, name, None)) is not None:
                of_class = ["self"] if inspect.isclass(provider) else []
                yield from _call_problems(name, own, *of_class, *arguments)
            elif name not in OPTIONAL_METHODS:
                yield f"has no method {name!r}"


def _call_problems(name: str, function: object, *arguments: str) -> Iterator[str]:
    if not callable(function):
        yield f"{name} is {function!r}, which cannot be called"
        return
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        yield f"{name}() is called with ({', '.join(arguments)}), and: {error}"
    except ValueError:
        pass  # a callable written in C does not tell its signature


@dataclass(frozen=True)
class Provided(Generic[P_co]):
    """A provider under its name, and its origin; `sections` are the plugin's own of the recipe."""

    provider: P_co
    name: str
    source: PluginSource
    sections: Mapping[str, dict[str, Json]]
    package_version: Callable[[str], str | None]

    def __str__(self) -> str:
        return f"{self.name!r} of {self.source}"

    @cached_property
    def traits(self) -> Traits:
        """What the provider says of itself."""
        return Traits.of(self.provider)

    def key_fields(self) -> dict[str, Json]:
        """Return what a cache key says of the provider: of a built-in one not our own version."""
        return {
            "provider": self.name,
            "distribution": self.source.distribution,
            "version": self.source.release,
            "provider_version": self.traits.version,
            "sections": dict(self.sections),
            "packages": {name: self.package_version(name) for name in sorted(self.traits.packages)},
        }

    def key_with(self, name: str, options: BaseModel | None) -> dict[str, Json]:
        """Return `key_fields` under a name, and the options beside it if any is no default."""
        with self.blamed():
            own = key_options(options)
        return {name: self.key_fields(), **({"options": own} if own else {})}

    def options(self, given: Mapping[str, Any], *, loc: Loc, recipe: Recipe) -> BaseModel | None:
        """Return the options that a recipe gives at `loc`, as `validated` does."""
        with self.blamed():
            return validated(self.traits.options_model, given, loc=loc, recipe=recipe)

    def blame(self, what: str) -> PluginError:
        """Return the error that says what the provider did wrong."""
        remedy = "the plugin has a defect; tell its maintainers, or use another"
        return PluginError(f"{self} {what}", remedy=remedy)

    @contextmanager
    def blamed(self, *passing: type[BaseException]) -> Iterator[None]:
        """Turn what a plugin's provider raises by mistake into an error that names the plugin.

        Our own errors, those of kinds `passing`, defects of built-in providers, and a stream that
        is full or whose reader left pass; a library of `ovrecipe[build]` that is missing is named.

        Raises:
            PluginError: with the name, and what was raised as its cause.
        """
        ours: tuple[type[BaseException], ...] = (OvrecipeError, BrokenPipeError, *passing)
        try:
            yield
        except ours:
            raise
        except (Exception, SystemExit) as error:
            if self.source.is_builtin and lacks_build_extra(error):
                raise PluginError(one_line(error), remedy=INSTALL_BUILD) from error
            if self.source.is_builtin or is_disk_full(error):
                raise
            raise self.blame(f"raised {one_line(error)}") from error

    def optional(self, method: str, *arguments: Any) -> list[Any]:
        """Return what an optional method answered, nothing where it is left out, or blame it."""
        own, kind = getattr(self.provider, method, None), OPTIONAL_METHODS[method]
        with self.blamed():
            answer = None if own is None else own(*arguments)
            is_one = kind in SINGLE or isinstance(answer, str)
            found = [] if answer is None else [answer] if is_one else [*answer]
        if odd := [item for item in found if not isinstance(item, kind)]:
            raise self.blame(f"returned {odd[0]!r} from {method}(), no {kind.__name__}")
        return found

    def facts(self, answer: object) -> dict[str, Json]:
        """Return the JSON mapping that a provider answered; None is no facts.

        Raises:
            PluginError: it is none.
        """
        if not isinstance(answer, Mapping | None):
            raise self.blame(f"returned {type(answer).__name__}; it returns facts by name, or None")
        try:
            facts: dict[str, Json] = json.loads(json.dumps(dict(answer or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise self.blame(f"returned facts that are no JSON: {error}") from error
        return facts

    def check_files(self, folder: Path, *names: str) -> None:
        """Look for the files that the provider shall have written.

        Raises:
            PluginError: one is missing.
        """
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise self.blame(f"wrote no {' and no '.join(missing)}")


def validated(
    model: type[Model] | None,
    given: Mapping[str, Any],
    *,
    loc: Loc = ("options",),
    recipe: Recipe | None = None,
) -> Model | None:
    """Return what a recipe gives to a plugin at `loc` as the plugin's own class.

    Raises:
        RecipeInvalid: it does not fit; every problem on a line of its own, with its place.
    """
    taken: type[BaseModel] = model or Section  # which has no keys
    try:
        found = taken.model_validate_json(json.dumps(given))
    except ValidationError as error:
        tree = None if recipe is None else recipe.tree
        problems = problems_of(error, model=taken, tree=tree, loc=loc)
        raise RecipeInvalid("\n".join(map(str, sorted(set(problems))))) from error
    return cast("Model", found) if model else None


def key_options(options: BaseModel | None) -> dict[str, Json]:
    """Return what a cache key says of validated options: those that differ from their defaults."""
    return {} if options is None else options.model_dump(mode="json", exclude_defaults=True)


def section_of(recipe: Recipe, name: str, model: type[Model]) -> Model:
    """Return a plugin's section `plugins: NAME:` of a recipe; all defaults where it has none.

    Raises:
        RecipeInvalid: the section does not fit `model`; every problem on a line of its own.
    """
    given = {} if recipe.plugins.get(name) is None else recipe.plugins[name]
    return cast("Model", validated(model, given, loc=("plugins", name), recipe=recipe))
