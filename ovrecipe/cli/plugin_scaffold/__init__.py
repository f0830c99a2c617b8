"""What `ovrecipe new-plugin` writes: the `.txt` files beside this module, with names filled in."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from ovrecipe.version import __version__

if TYPE_CHECKING:
    from pathlib import PurePosixPath

#: The object of each template that an entry point names; an observer is its module.
OBJECTS = {
    "source": ":FolderSource",
    "exporter": ":ReadyMadeExporter",
    "tokenizer_converter": ":ReadyMadeTokenizer",
    "compressor": ":KeepSomeCompressor",
    "evaluator": ":ExpectEvaluator",
    "output_filter": ":replace_text",
    "frontend": ":NumberedFrontend",
    "observer": "",
    "command": ":command",
}


def scaffold(name: str, kind: str) -> dict[PurePosixPath, str]:
    """Return the files of a new plugin, by path inside its folder."""
    from pathlib import PurePosixPath

    module = f"ovrecipe_{name.replace('-', '_')}"
    contents = {
        "pyproject.toml": _filled("pyproject.toml", name, kind),
        "README.md": _filled("README.md", name, kind),
        f"{module}/__init__.py": _filled(f"{kind}.py", name, kind),
        f"tests/test_{module}.py": _filled(f"test_{kind}.py", name, kind),
    }
    return {PurePosixPath(path): text for path, text in contents.items()}


def _filled(template: str, name: str, kind: str) -> str:
    text = files(__name__).joinpath(f"{template}.txt").read_text(encoding="utf-8")
    for mark, value in _values(name, kind).items():
        text = text.replace(f"@{mark}@", value)
    return text


def _values(name: str, kind: str) -> dict[str, str]:
    module = f"ovrecipe_{name.replace('-', '_')}"
    return {
        "NAME": name,
        "MODULE": module,
        "KIND": kind.replace("_", " "),
        "GROUP": '"ovrecipe"' if kind == "observer" else f'"ovrecipe.{kind}"',
        "TARGET": module + OBJECTS[kind],
        "USE": _USE[kind].replace("@NAME@", name),
        "OVRECIPE": ".".join(__version__.split(".")[:2]),
    }


#: What a plugin can be, as its template is called.
KINDS = tuple(OBJECTS)
#: How the new plugin is used, for its README.
_USE = {
    "source": "model: {id: '@NAME@:path/of/a/checkpoint'}   # in a recipe",
    "exporter": "model: {id: ./checkpoint, exporter: @NAME@}   # in a recipe",
    "tokenizer_converter": "tokenizer: {converter: @NAME@}   # in a recipe",
    "compressor": "variants: {int8: {compressor: @NAME@}}   # in a recipe",
    "output_filter": (
        "output: {filters: [{@NAME@: {find: colour, replacement: color}}]}   # in a recipe"
    ),
    "frontend": 'ovrecipe run RECIPE --frontend @NAME@ "a question"',
    "evaluator": "check: {evaluators: [{@NAME@: {expect: Paris}}]}   # in a recipe",
    "observer": 'OVRECIPE_JOURNAL=journal.jsonl ovrecipe run RECIPE "a question"',
    "command": "ovrecipe @NAME@",
}
