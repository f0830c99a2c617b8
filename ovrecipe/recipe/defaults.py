"""What counts where nobody says otherwise: `ovrecipe.toml` of a project, a user's `config.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ovrecipe.errors import ProjectError
from ovrecipe.wording import perhaps

#: In the project's folder; in the user's configuration folder, or where the variable says.
PROJECT_FILE, USER_FILE, CONFIG_VARIABLE = "ovrecipe.toml", "config.toml", "OVRECIPE_CONFIG"
#: Each key of the files, and the environment variable that goes before it.
VARIABLES = {
    "model": "OVRECIPE_MODEL",
    "device": "OVRECIPE_DEVICE",
    "remote": "OVRECIPE_REMOTE",
}


class Default(NamedTuple):
    """A value and who says so."""

    value: str
    where: str


@dataclass(frozen=True)
class Defaults:
    """What counts where the command line says nothing; None where nobody says anything."""

    model: Default | None = None
    device: Default | None = None
    #: The store elsewhere that a build takes from.
    remote: Default | None = None


def read_defaults(env: Mapping[str, str], project_dir: Path) -> Defaults:
    """Return the defaults, each from the nearest that has it: environment, project, user.

    Raises:
        ProjectError: a file is not TOML, or says what no default is.
    """
    from platformdirs import user_config_path

    named = env.get(CONFIG_VARIABLE)
    user_path = Path(named) if named else user_config_path("ovrecipe", appauthor=False) / USER_FILE
    found = _of_file(user_path, str(user_path)) | _of_file(project_dir / PROJECT_FILE, PROJECT_FILE)
    for key, variable in VARIABLES.items():
        if value := env.get(variable):
            found[key] = Default(value, variable)
    return Defaults(**found)


def _of_file(path: Path, shown: str) -> dict[str, Default]:
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as exc:
        raise ProjectError(f"{shown}: is not TOML: {exc}") from exc
    for key, value in found.items():
        if key not in VARIABLES:
            raise ProjectError(f"{shown}: {key}: unknown key{perhaps(key, VARIABLES)}")
        if not isinstance(value, str) or not value:
            raise ProjectError(f"{shown}: {key}: must be text, got {value!r}")
    return {key: Default(value, shown) for key, value in found.items()}
