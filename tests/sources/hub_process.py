"""One run of HubSource in a process of its own: `python -m tests.sources.hub_process JSON`.

huggingface_hub reads its environment once, when it is imported; only a new process sees another.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ovrecipe.builtin.hub import HubSource
from ovrecipe.errors import OvrecipeError
from tests.sources.requests import request


def main() -> None:
    """Pin and fetch what the argument says, and print what happened as JSON."""
    job = json.loads(sys.argv[1])
    checkpoint_dir = Path(job["checkpoint_dir"])
    outcome: dict[str, object] = {"progress": []}
    asked = request(
        checkpoint_dir,
        job["id"],
        env=dict(os.environ),
        progress=_noting(outcome),
        **job.get("model", {}),
    )
    try:
        outcome["pin"] = pin = job.get("pin") or HubSource().pin(asked)
        if job.get("fetch", True):
            HubSource().fetch(asked, pin, checkpoint_dir)
    except OvrecipeError as error:
        outcome["error"] = type(error).__name__
        outcome["message"] = str(error)
    print(json.dumps(outcome))


def _noting(outcome):
    def progress(message, *, done=None, total=None, unit=""):
        outcome["progress"].append([message, done, total, unit])

    return progress


if __name__ == "__main__":
    main()
