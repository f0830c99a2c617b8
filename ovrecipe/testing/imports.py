"""The check that a plugin imports public names of ovrecipe only."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from types import ModuleType

#: Modules and names that stay from release to release; `docs/plugins.md` has the same list.
PUBLIC = (
    "ovrecipe",
    "ovrecipe.errors",
    "ovrecipe.hooks.roles",
    "ovrecipe.types",
    "ovrecipe.recipe.schema.Recipe",
    "ovrecipe.recipe.sections.Objection",
    "ovrecipe.recipe.sections.Section",
    "ovrecipe.cli.session.Session",
    "ovrecipe.cli.session.session_of",
)
PUBLIC_IN_TESTS = (*PUBLIC, "ovrecipe.testing")


def assert_imports_public_names(package: ModuleType, *, tests_dir: Path | None = None) -> None:
    """Fail, with every place, unless a plugin imports public names of ovrecipe only.

    All others may change with any release. Tests in `tests_dir` may import `ovrecipe.testing` too.
    """
    problems = list(_problems(_sources(package), PUBLIC))
    if tests_dir is not None:
        problems += _problems(sorted(tests_dir.rglob("*.py")), PUBLIC_IN_TESTS)
    assert not problems, "not public (docs/plugins.md lists what is):\n- " + "\n- ".join(problems)


def private_imports(source: str, public: Collection[str] = PUBLIC) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of what a text imports of ovrecipe and is not public."""
    for line, name in _imports(ast.parse(source)):
        if name.split(".")[0] == "ovrecipe" and not _is_public(name, public):
            yield line, name


def _problems(paths: Iterable[Path], public: Collection[str]) -> Iterator[str]:
    for path in paths:
        for line, name in private_imports(path.read_text(encoding="utf-8"), public):
            yield f"{path}:{line}: {name}"


def _sources(package: ModuleType) -> list[Path]:
    """Return the files of a package, or the one of a module."""
    assert package.__file__ is not None, f"{package.__name__} has no file"
    path = Path(package.__file__)
    return sorted(path.parent.rglob("*.py")) if hasattr(package, "__path__") else [path]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, each.name) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{each.name}") for each in node.names)


def _is_public(name: str, public: Collection[str]) -> bool:
    module, _, last = name.rpartition(".")
    if name in public or module not in public:
        return name in public
    # A package has modules that are not public, and its own list of what is.
    home = import_module(module)
    return last in dir(home) or not hasattr(home, "__path__")
