"""Defaults of the command line: from the environment, the project and the user's own file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ovrecipe.errors import ProjectError
from ovrecipe.wording import perhaps

if TYPE_CHECKING:
    from collections.abc import Mapping

#: In the project's folder, and in the user's configuration folder.
PROJECT_FILE, USER_FILE = "ovrecipe.toml", "config.toml"
#: The variable that names the user's file, in place of the one in their configuration folder.
CONFIG_VARIABLE = "OVRECIPE_CONFIG"
#: Each key of the files, and the environment variable that goes before it.
VARIABLES = {"model": "OVRECIPE_MODEL", "device": "OVRECIPE_DEVICE"}


class Default(NamedTuple):
    """A value and who says so."""

    value: str
    where: str


@dataclass(frozen=True)
class Defaults:
    """What counts where the command line says nothing; None where nobody says anything."""

    model: Default | None = None
    device: Default | None = None


def read_defaults(env: Mapping[str, str], project_dir: Path) -> Defaults:
    """Return the defaults, each from the nearest that has it: environment, project, user.

    Raises:
        ProjectError: a file is not TOML, or says what no default is.
    """
    from platformdirs import user_config_path

    named = env.get(CONFIG_VARIABLE)
    user_path = Path(named) if named else user_config_path("ovrecipe", appauthor=False) / USER_FILE
    said = {key: env.get(variable) for key, variable in VARIABLES.items()}
    return Defaults(
        **{
            **_of_file(user_path, str(user_path)),
            **_of_file(project_dir / PROJECT_FILE, PROJECT_FILE),
            **{key: Default(value, VARIABLES[key]) for key, value in said.items() if value},
        }
    )


def _of_file(path: Path, shown: str) -> dict[str, Default]:
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as exc:
        raise ProjectError(f"{shown}: is not TOML: {exc}") from exc
    for key, value in found.items():
        if key not in VARIABLES:
            close = perhaps(key, VARIABLES)
            raise ProjectError(f"{shown}: {key}: unknown key{close}")
        if not isinstance(value, str) or not value:
            raise ProjectError(f"{shown}: {key}: must be text, got {value!r}")
    return {key: Default(value, shown) for key, value in found.items()}
