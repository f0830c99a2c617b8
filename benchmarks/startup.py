"""Start-up: a build with nothing to do, and `--help`, against importing what they stand on.

    python benchmarks/startup.py smollm2-135m

Run it where the recipe is built. Each round runs every command once, in turn; a ratio is the
median of the rounds' own ratios. Where plugins are installed, both commands also run without
them: the import path is then a folder of links to all that is installed but the plugins' own
metadata, and both sides of that comparison run from such a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

#: What both commands cannot do without.
IMPORTS = ("-c", "import doit, pydantic, yaml, pluggy")
HELP = ("-m", "ovrecipe", "--help")
#: The most that a ratio may be, by its name.
LIMITS = {"build": 2.5, "help": 2.5, "build_with_plugins": 1.15, "help_with_plugins": 1.15}


@dataclass(frozen=True)
class Command:
    """Arguments of Python, and the folder that stands for site-packages (None: the real one)."""

    arguments: tuple[str, ...]
    site_dir: Path | None = None

    def seconds(self) -> float:
        """Run it and return the wall time."""
        isolated = () if self.site_dir is None else ("-S",)
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *isolated, *self.arguments],
            env=self._env(),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - start

    def _env(self) -> dict[str, str]:
        env = {**os.environ}
        # Compiled modules are what an installed program starts from.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        if self.site_dir is not None:
            env["PYTHONPATH"] = os.pathsep.join([str(self.site_dir), str(ovrecipe_dir())])
        return env


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Start-up times of doit and ovrecipe.")
    parser.add_argument("recipe", nargs="?", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        commands = commands_of(options.recipe, Path(folder))
        rounds = [seconds_of(commands) for _ in range(options.rounds + 1)]
    report(rounds[1:], as_json=options.json)  # the first round compiles and fills caches


def commands_of(recipe: str, folder: Path) -> dict[str, Command]:
    """Return the commands to time, by name."""
    build = ("-m", "doit", f"build:{recipe}")
    commands = {"imports": Command(IMPORTS), "build": Command(build), "help": Command(HELP)}
    if plugins():
        every = linked_site(folder / "with", without=())
        none = linked_site(folder / "without", without=plugins())
        commands |= {
            "build_with_plugins": Command(build, every),
            "build_without_plugins": Command(build, none),
            "help_with_plugins": Command(HELP, every),
            "help_without_plugins": Command(HELP, none),
        }
    return commands


def plugins() -> list[Distribution]:
    """Return the distributions that announce plugins or commands."""
    return [distribution for distribution in distributions() if announces(distribution)]


def announces(distribution: Distribution) -> bool:
    """Return whether a distribution has an entry point of ours."""
    groups = {point.group for point in distribution.entry_points}
    return any(group == "ovrecipe" or group.startswith("ovrecipe.") for group in groups)


def linked_site(site_dir: Path, *, without: Sequence[Distribution]) -> Path:
    """Fill a folder with links to all that is installed, but for the metadata of some."""
    site_dir.mkdir()
    left_out = {
        Path(str(distribution.locate_file(""))) / metadata_name(distribution)
        for distribution in without
    }
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path not in left_out:
            (site_dir / path.name).symlink_to(path)
    return site_dir


def metadata_name(distribution: Distribution) -> str:
    """Return the name of a distribution's metadata folder."""
    record = next(path for path in distribution.files or () if path.name == "METADATA")
    return record.parts[0]


def ovrecipe_dir() -> Path:
    """Return where ovrecipe itself is imported from, which may be a checkout."""
    import ovrecipe

    return Path(ovrecipe.__file__).parents[1]


def seconds_of(commands: Mapping[str, Command]) -> dict[str, float]:
    """Return the wall time of each command, run one after the other."""
    return {name: command.seconds() for name, command in commands.items()}


def report(rounds: Sequence[Mapping[str, float]], *, as_json: bool) -> None:
    """Print medians and ratios."""
    facts = {
        "rounds": len(rounds),
        "seconds": {
            name: round(median(seconds[name] for seconds in rounds), 3) for name in rounds[0]
        },
        "ratios": ratios(rounds),
        "limits": LIMITS,
        "plugins": sorted(distribution.name for distribution in plugins()),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name:14} {value}")


def ratios(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each command against what it is compared with."""
    pairs = {"build": "imports", "help": "imports"}
    pairs |= {
        f"{command}_with_plugins": f"{command}_without_plugins"
        for command in ("build", "help")
        if f"{command}_with_plugins" in rounds[0]
    }
    return {
        name: round(median(seconds[name] / seconds[other] for seconds in rounds), 3)
        for name, other in pairs.items()
    }


if __name__ == "__main__":
    main()
