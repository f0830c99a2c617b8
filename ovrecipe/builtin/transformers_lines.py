"""Lines of transformers: the toolchains that there are, and which one an architecture needs.

optimum-intel gives each architecture the oldest and the newest transformers that its export was
written for, and refuses others. The bounds are read from its source, for importing it loads torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ovrecipe.hooks.roles import MAIN, Toolchain, ToolchainChoice

#: In the order in which they are tried after the main environment. What 4.x does not share with
#: 5.x moves with it; 5.x works with the tokenizers and the huggingface_hub of the main environment.
TOOLCHAINS = (
    Toolchain(
        "tf-4.57", {"transformers": "4.57.6", "tokenizers": "0.22.2", "huggingface-hub": "0.36.2"}
    ),
    Toolchain("tf-5.4", {"transformers": "5.4.0"}),
    Toolchain("tf-5.2", {"transformers": "5.2.0"}),
    Toolchain("tf-5.0", {"transformers": "5.0.0"}),
    Toolchain(
        "tf-4.55", {"transformers": "4.55.4", "tokenizers": "0.21.4", "huggingface-hub": "0.36.2"}
    ),
    Toolchain(
        "tf-4.53", {"transformers": "4.53.3", "tokenizers": "0.21.4", "huggingface-hub": "0.36.2"}
    ),
    Toolchain("tf-5.10", {"transformers": "5.10.4"}),
    Toolchain("tf-5.15", {"transformers": "5.15.1", "safetensors": "0.8.0"}),
)
#: Where in optimum the classes of architectures are, and those that they inherit from.
MODULES = tuple(f"exporters/openvino/{name}.py" for name in ("model_configs", "config", "base"))
#: A task, and the list of tasks that has it.
TASKS = {"text-generation-with-past", "COMMON_TEXT_GENERATION_TASKS"}
BOUNDS = ("MIN_TRANSFORMERS_VERSION", "MAX_TRANSFORMERS_VERSION")
PARSING = Lock()


class Bounds(NamedTuple):
    """The oldest and the newest transformers that can export an architecture, if there are such."""

    oldest: str | None = None
    newest: str | None = None

    def objection(self, version: str) -> str | None:
        """Return what a version would have to be; None where it lies within. `5.0` is 5.0.0."""
        if self.newest and _release(version) > _release(self.newest):
            return f"at most {self.newest.replace('99', '*')}"
        if self.oldest and _release(version) < _release(self.oldest):
            return f"at least {self.oldest}"
        return None


def dtype_option(version: str | None) -> str:
    """Return what a transformers calls the dtype of a model that it loads.

    One before 4.56 takes `dtype` for an option of the model's class, which has none.
    """
    return "torch_dtype" if version and _release(version) < (4, 56) else "dtype"


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version; 5.0 and 5.0.0 have equal ones.

    Importing `packaging` would cost a build with nothing to do 20 ms.
    """
    numbers = re.match(r"[\d.]*\d", version)
    return tuple(map(int, re.sub(r"(\.0)+$", "", numbers[0]).split("."))) if numbers else ()


def choice_for(
    model_type: str, installed: str | None, toolchains: Iterable[Toolchain] = TOOLCHAINS
) -> ToolchainChoice:
    """Return which toolchain an architecture needs where that transformers is installed, and why.

    The main environment wherever it fits, and for an architecture that optimum-intel does not
    know: the export itself says so.
    """
    bounds = bounds_of(model_type) or Bounds()
    wanted = None if installed is None else bounds.objection(installed)
    if wanted is None:
        return ToolchainChoice(MAIN, f"{model_type} works with transformers {installed}")
    for toolchain in toolchains:
        if bounds.objection(toolchain.packages["transformers"]) is None:
            return ToolchainChoice(toolchain.name, f"{model_type} needs transformers {wanted}")
    reason = f"optimum-intel wants at least {bounds.oldest} and at most {bounds.newest}"
    return ToolchainChoice(None, f"{model_type} works with no transformers: {reason}")


def bounds_of(model_type: str) -> Bounds | None:
    """Return what optimum-intel says of an architecture; None where it does not know it.

    The architecture's class is the last that registers it for text generation. What it does not
    say itself it has from the classes that it inherits from.
    """
    classes = _classes()
    registered = [
        name
        for name, text in classes.items()
        if f'"{model_type}"' in text and _registers(_parsed(name), model_type)
    ]
    if not registered:
        return None
    line = [*_ancestry(registered[-1])]
    found = Bounds(*(next((said[name] for said in line if name in said), None) for name in BOUNDS))
    # A newest that is older than the oldest was inherited from a class of an older architecture.
    is_empty = found.oldest and Bounds(newest=found.newest).objection(found.oldest)
    return found._replace(newest=None) if is_empty else found


@cache
def _classes() -> dict[str, str]:
    """Return the text of each class, with its decorators, by name.

    All of it is not parsed: that would cost a build with nothing to do a third of its time.
    """
    spec = find_spec("optimum")  # a package below it would be imported for this
    places = [] if spec is None else spec.submodule_search_locations or []
    found: dict[str, str] = {}
    for path in (Path(place) / module for module in reversed(MODULES) for place in places):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        decorators = ""
        for piece in re.split(r"^(?=@|class )", text, flags=re.MULTILINE):
            if named := re.match(r"class (\w+)", piece):
                found[named[1]] = decorators + piece
            decorators = decorators + piece if piece.startswith("@") else ""
    return found


@cache
def _parsed(name: str) -> ast.ClassDef:
    # A build asks from several threads; two parsers at once upset each other (CPython 3.11).
    with PARSING:
        statements = ast.parse(_classes()[name]).body
    return next(node for node in statements if isinstance(node, ast.ClassDef))


def _registers(node: ast.ClassDef, model_type: str) -> bool:
    """Return whether a decorator of a class registers it for the text generation of a type."""
    for decorator in node.decorator_list:
        words = [getattr(part, "value", getattr(part, "id", None)) for part in ast.walk(decorator)]
        texts = [word for word in words if isinstance(word, str)]
        # The first is the decorator's own name.
        if texts[1:2] == [model_type] and TASKS.intersection(texts):
            return True
    return False


def _ancestry(name: str) -> Iterator[Mapping[str, Any]]:
    """Yield what a class, and then each that it inherits from, says of versions."""
    node = _parsed(name)
    yield {
        target.id: statement.value.value
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        for target in statement.targets
        if isinstance(target, ast.Name) and target.id in BOUNDS
    }
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in _classes():
            yield from _ancestry(base.id)
