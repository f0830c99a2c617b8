"""How many files of ovrecipe one build and one run walk through: `python benchmarks/visited.py`.

A profile function in every process that the command starts notes each file of the package in
which a function was called. It says how far a reader has to go, not how fast the program is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import ovrecipe

PACKAGE = Path(ovrecipe.__file__).parent
RECIPE = "smollm2-135m"
#: Runs at the start of every Python process that finds it on its path.
SITECUSTOMIZE = """
import os, sys, threading

seen = set()

def note(frame, event, argument):
    name = frame.f_code.co_filename
    if event == "call" and name not in seen:
        seen.add(name)
        if name.startswith(os.environ["VISITED_PACKAGE"]):
            with open(os.environ["VISITED_LIST"], "a") as stream:
                stream.write(name + "\\n")

sys.setprofile(note)
threading.setprofile(note)
"""


def visited(*arguments: str, project: Path, scratch: Path) -> list[str]:
    """Return the files, relative to the package, that a command of ovrecipe walks through."""
    hooks = scratch / "site"
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(SITECUSTOMIZE)
    found = scratch / "visited.txt"
    found.write_text("")
    path = os.pathsep.join([str(hooks), str(PACKAGE.parent)])
    env = {**os.environ, "PYTHONPATH": path, "VISITED_PACKAGE": str(PACKAGE)}
    command = [sys.executable, "-c", "from ovrecipe.cli.main import main; main()", *arguments]
    subprocess.run(
        command,
        cwd=project,
        env={**env, "VISITED_LIST": str(found), "HF_HUB_OFFLINE": "1"},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return sorted(
        {Path(line).relative_to(PACKAGE).as_posix() for line in found.read_text().split()}
    )


def main() -> None:
    """Build and run the smallest model in a fresh project, and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        project = scratch / "project"
        (project / "recipes").mkdir(parents=True)
        text = (PACKAGE.parent / "recipes" / f"{RECIPE}.yaml").read_text(encoding="utf-8")
        (project / "recipes" / f"{RECIPE}.yaml").write_text(text, encoding="utf-8")
        build = visited("build", f"{RECIPE}:int4", project=project, scratch=scratch)
        run = visited(
            "run", f"{RECIPE}:int4", "Say yes.", "--greedy", project=project, scratch=scratch
        )
    files = [path for path in PACKAGE.rglob("*.py") if "_recipes" not in path.parts]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)
    print(
        json.dumps(
            {
                "files": len(files),
                "lines": lines,
                "visited_by_one_build": len(build),
                "visited_by_one_run": len(run),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
