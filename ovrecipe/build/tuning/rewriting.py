"""The settings of a variant written into its recipe, with the comments kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ovrecipe.errors import OvrecipeError, ProjectError
from ovrecipe.recipe.compression import CompressionPass
from ovrecipe.recipe.load import load_recipe_file
from ovrecipe.recipe.schema import Recipe, Variant
from ovrecipe.recipe.writing import flow

if TYPE_CHECKING:
    from pathlib import Path

#: Longer than any line: nothing is broken anew.
WIDTH = 2**16
BOM = "\ufeff"


def settings_of_pass(variant: Variant) -> dict[str, Any]:
    """Return what a recipe says of a variant's compression, as plain values."""
    fields = {*CompressionPass.model_fields}
    return variant.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True,
                              include=fields)  # fmt: skip


def write_settings(recipe: Recipe, name: str, variant: Variant) -> None:
    """Write a variant's settings into the file of its recipe; all else says what it said.

    Raises:
        ProjectError: the file cannot be written, or not without changing something else.
    """
    path, wanted = recipe.path, settings_of_pass(variant)
    remedy = f"write it yourself: {name}: {flow(wanted)}"
    try:
        before = path.read_bytes()
        text = rewritten(before.decode("utf-8"), name, wanted, inherited=_inherited(recipe, name))
        _replace(path, text.encode("utf-8"))
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}", remedy=remedy) from error
    if not _says(path, recipe, name, variant):
        _replace(path, before)
        raise ProjectError(
            f"{path}: variants.{name} cannot be changed without changing something else (an "
            "alias?); it was left as it is",
            remedy=remedy,
        )


def rewritten(text: str, name: str, wanted: Mapping[str, Any], *, inherited: set[str]) -> str:
    """Return a recipe's text with a variant's compression replaced; `inherited` keys are undone."""
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.util import load_yaml_guess_indent

    line_end = "\r\n" if "\r\n" in text else "\n"
    plain = text.removeprefix(BOM).replace("\r\n", "\n")
    _, indent, offset = load_yaml_guess_indent(plain)
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, WIDTH
    if indent is not None:
        yaml.indent(mapping=2, sequence=indent, offset=offset or 0)
    document = yaml.load(plain)
    variants = document.setdefault("variants", CommentedMap())
    own = variants.get(name)
    if not isinstance(own, CommentedMap):
        own = CommentedMap()
        own.fa.set_flow_style()
        variants[name] = own
    _update(own, {**dict.fromkeys(inherited - own.keys() - wanted.keys()), **wanted})
    written = StringIO()
    yaml.dump(document, written)
    bom = BOM if text.startswith(BOM) else ""
    return bom + written.getvalue().replace("\n", line_end)


def _update(own: Any, wanted: Mapping[str, Any]) -> None:
    """Give a mapping these keys of a pass, and no others; a comment behind it stays behind it."""
    last = next(reversed(own), None)
    behind = own.ca.items.pop(last, None)
    for key in [key for key in own if key in CompressionPass.model_fields and key not in wanted]:
        del own[key]
    for key, value in wanted.items():
        if own.get(key, own) != value:
            own[key] = value
    if behind is not None:
        own.ca.items[next(reversed(own))] = behind


def _inherited(recipe: Recipe, name: str) -> set[str]:
    """Return the keys of a pass that the variant has, here or from what the recipe extends."""
    if name not in recipe.variants:
        return set()
    return recipe.variants[name].model_fields_set & {*CompressionPass.model_fields}


def _says(path: Path, recipe: Recipe, name: str, variant: Variant) -> bool:
    """Return whether the file says of the variant what was wanted, and else what it said."""
    try:
        found = load_recipe_file(path)
    except OvrecipeError:
        return False
    if name not in found.variants:
        return False
    before, after = _said(recipe), _said(found)
    own = after["variants"].pop(name)
    # A variant that was not there yet brings nothing but its settings.
    others = before["variants"].pop(name, None) or own
    is_alike = {**own, **_NO_PASS} == {**others, **_NO_PASS}
    settings = settings_of_pass(found.variants[name])
    return settings == settings_of_pass(variant) and is_alike and after == before


#: What a comparison of two variants without their settings leaves out.
_NO_PASS: dict[str, Any] = dict.fromkeys(
    field.alias or name for name, field in CompressionPass.model_fields.items()
)


def _said(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", by_alias=True, exclude={"path"})


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
