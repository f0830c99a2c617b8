"""What a built variant took from its recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_serializer,
    model_validator,
)

from ovrecipe.recipe.compression import PRECISIONS, Variant
from ovrecipe.recipe.generation import Generation
from ovrecipe.recipe.sections import (
    PATTERN,
    FrozenDict,
    FrozenMapping,
    Listed,
    Objection,
    Section,
    name_objection,
    refuse,
)

if TYPE_CHECKING:
    from ovrecipe.recipe.yaml_reader import Node

_PATH_START = re.compile(r"^(\.{1,2}[/\\]|[/\\]|~|[A-Za-z]:[/\\])|^\.{1,2}$")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]+):(.+)$", re.DOTALL)


def split_model_id(model_id: str) -> tuple[str, str]:
    """Return (scheme, location): who brings the checkpoint, and what it is asked for.

    A path starts with `./`, `../`, `/`, `~` or a Windows drive and is `gguf` when it ends in
    `.gguf`, else `local`; `SCHEME:rest` is a plugin's (or the built-in `dist`, `hub`, `local`,
    `gguf`); everything else is an id on the hub.
    """
    if _PATH_START.match(model_id):
        return ("gguf" if model_id.lower().endswith(".gguf") else "local"), model_id
    if match := _SCHEME.match(model_id):
        return match[1], match[2]
    return "hub", model_id


def _file_name(name: str) -> str:
    if objection := name_objection(name):
        raise ValueError(objection)
    return name


Name = Annotated[str, StringConstraints(pattern=f"^{PATTERN}$")]
#: Recipes and variants become files and folders.
FileName = Annotated[Name, AfterValidator(_file_name)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def _with_options(entry: Any) -> Any:
    """Return a name, or `{name: {option: value}}`, as `{name: ..., options: ...}`."""
    if isinstance(entry, str):
        return {"name": entry}
    if isinstance(entry, Mapping) and len(entry) == 1 and "name" not in entry:
        [(name, options)] = entry.items()
        return {"name": name, "options": options if options is not None else {}}
    return entry


class ProviderSpec(Section):
    """A provider and its options: a name, or `{name: {option: value}}`."""

    name: NonEmpty
    options: FrozenMapping[str, Any] = Field(default_factory=FrozenDict)

    @model_serializer
    def _shortest(self) -> Any:
        return {self.name: dict(self.options)} if self.options else self.name


#: A provider that a key names.
NamedProvider = Annotated[ProviderSpec, BeforeValidator(_with_options)]


class Model(Section):
    """The checkpoint, and who reads it."""

    id: NonEmpty
    revision: NonEmpty | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    exporter: NamedProvider = ProviderSpec(name="optimum")


class Tokenizer(Section):
    """Who converts the checkpoint's tokenizer."""

    converter: NamedProvider = ProviderSpec(name="openvino")


class Prompt(Section):
    """How an instruction becomes the text that the model sees."""

    template: NonEmpty | None = None
    chat_template: NonEmpty | None = None
    system: NonEmpty | None = None
    add_special_tokens: bool = False
    stop: Listed[NonEmpty] = ()

    @model_validator(mode="after")
    def _one_template_that_uses_its_parts(self) -> Prompt:
        refuse(_prompt_objections(self))
        return self


def _prompt_objections(prompt: Prompt) -> Iterator[Objection]:
    template = prompt.template
    if template is None:
        return
    if prompt.chat_template is not None:
        yield Objection(("chat_template",), "stands beside 'template'; keep one of the two")
    if "{instruction}" not in template:
        reason = "has no {instruction}, so no instruction would be asked"
        yield Objection(("template",), reason)
    if prompt.system and "{system}" not in template:
        yield Objection(("system",), "the template has no {system}, so it would be ignored")
    if "{system}" in template and not prompt.system:
        yield Objection(("template",), "has {system}, but 'system' is not given")


class Output(Section):
    """What happens to the text between the model and the user."""

    filters: Listed[NamedProvider] = ()


class Check(Section):
    """What a built variant must pass besides ovrecipe's own gates."""

    evaluators: Listed[NamedProvider] = ()


class Requires(Section):
    """What must be installed for the recipe to mean what it says."""

    ovrecipe: NonEmpty | None = None
    plugins: FrozenMapping[NonEmpty, str] = Field(default_factory=FrozenDict)

    @model_validator(mode="after")
    def _specifiers_can_be_read(self) -> Requires:
        refuse(_specifier_objections(self))
        return self


def _specifier_objections(requires: Requires) -> Iterator[Objection]:
    wanted: dict[tuple[str, ...], str] = {("plugins", k): v for k, v in requires.plugins.items()}
    if requires.ovrecipe is not None:
        wanted["ovrecipe",] = requires.ovrecipe
    for keys, specifier in wanted.items():
        if not _is_specifier(specifier):
            reason = f"must be versions like '>=1.2,<2', got '{specifier}'"
            yield Objection(keys, reason)


def _is_specifier(text: str) -> bool:
    # Most recipes require nothing and need not pay for the import.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return True


class Recipe(Section):
    """One model, its prompt, and the variants to build from it."""

    name: FileName
    path: Path
    extends: FileName | None = None
    description: NonEmpty | None = None
    requires: Requires = Requires()
    model: Model
    tokenizer: Tokenizer = Tokenizer()
    prompt: Prompt = Prompt()
    variants: Annotated[FrozenMapping[FileName, Variant], Field(min_length=1)]
    generation: Generation = Generation()
    check: Check = Check()
    output: Output = Output()
    plugins: FrozenMapping[Name, Any] = Field(default_factory=FrozenDict)

    @field_validator("variants", mode="before")
    @classmethod
    def _precision_from_the_name(cls, value: Any) -> Any:
        """Fill in the precision that the variant's name starts with; others stay without."""
        if not isinstance(value, Mapping):
            return value
        return {name: _with_precision(str(name), each) for name, each in value.items()}

    @property
    def tree(self) -> Node | None:
        """What the file says, with the place of each value; None for a recipe of no file."""
        from ovrecipe.recipe.load import load_tree

        if not self.path.is_file():
            return None
        return load_tree(self.path, shown_from=self.path.parent.parent).tree

    @property
    def base_dir(self) -> Path:
        """The folder that relative paths in the recipe start from."""
        return self.path.parent

    def default_variants(self) -> tuple[str, ...]:
        """Return the variants that are built when none is named."""
        return tuple(name for name, each in self.variants.items() if not each.optional)

    def generation_of(self, variant: str) -> Generation:
        """Return the recipe's generation parameters with the variant's own on top."""
        return self.generation.overridden_by(self.variants[variant].generation)


def _with_precision(name: str, variant: Any) -> Any:
    if variant is None:
        variant = {}
    if not isinstance(variant, Mapping) or "precision" in variant:
        return variant
    precision = name.split("-", maxsplit=1)[0]
    return {"precision": precision, **variant} if precision in PRECISIONS else variant


def settings_of(recipe: Recipe, variant: str) -> dict[str, Any]:
    """Return, as JSON, all that the recipe says of a variant's directory.

    It is part of the directory's key, and so of its manifest: whoever opens the directory can
    tell whether the recipe still says the same, without planning a build. What decides on the
    text behind the model (`output`) or on the gates (`check`) is not in it.
    """
    return {
        "model": _said(recipe.model),
        "tokenizer": _said(recipe.tokenizer),
        "prompt": _said(recipe.prompt),
        "variant": _said(recipe.variants[variant], exclude={"optional", "generation"}),
        "generation": _said(recipe.generation_of(variant)),
    }


def _said(section: Section, exclude: set[str] | None = None) -> dict[str, Any]:
    # Without defaults, so that a key that a later version adds makes nothing stale.
    return section.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude)
