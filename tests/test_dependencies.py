"""What is imported is declared, so that an installation does not work by luck."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
#: The folders that a user needs who only runs what was built.
RUN_ONLY = ("recipe", "hooks", "store", "run")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    """Return the names of requirements such as `click>=8.2,<8.5`."""
    return {
        canonical(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])
        for requirement in requirements
    }


CORE = declared(PROJECT["dependencies"])
EXTRAS = {
    name: declared(requirements) for name, requirements in PROJECT["optional-dependencies"].items()
}


def third_party_imports(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (file, top-level name) of every import of what is not ours and not Python's."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [str(node.module)]
            for name in {module.partition(".")[0] for module in names}:
                if name != "ovrecipe" and name not in sys.stdlib_module_names:
                    yield str(path.relative_to(REPOSITORY)), name


def undeclared(folder: Path, allowed: set[str]) -> set[tuple[str, str]]:
    distributions = packages_distributions()
    return {
        (path, name)
        for path, name in third_party_imports(folder)
        if not allowed & {canonical(distribution) for distribution in distributions.get(name, [])}
    }


def test_every_import_belongs_to_a_declared_dependency() -> None:
    """A library that comes with another one today need not come with its next version."""
    assert undeclared(REPOSITORY / "ovrecipe", CORE.union(*EXTRAS.values())) == set()


def test_running_a_model_needs_the_core_only() -> None:
    """`pip install ovrecipe` runs what is built; torch and its like are for building."""
    for name in RUN_ONLY:
        assert undeclared(REPOSITORY / "ovrecipe" / name, CORE) == set()
    assert not CORE & {"torch", "transformers", "nncf", "optimum-intel"}
