"""`ovrecipe serve ./out`: an export, where there is neither project nor store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BERT, TWIN, write_adapter

pytestmark = [pytest.mark.model, pytest.mark.slow]


def test_exports_are_served_by_the_names_they_were_built_under(serve, tiny_project, tmp_path):
    """With their adapters; two that have the same name are refused."""
    command = Path(sys.executable).with_name("ovrecipe")
    env = {**tiny_project.env, "OVRECIPE_PROJECT": str(tiny_project.root)}
    env |= {"OVRECIPE_STORE": str(tiny_project.store_dir), "OVRECIPE_CONFIG": os.devnull}
    out, vectors = tmp_path / "out", tmp_path / "vectors"
    for target, folder in ((TWIN, out), (BERT, vectors)):
        subprocess.run([command, "export", target, folder], env=env, check=True)
    nowhere = {"OVRECIPE_PROJECT": str(tmp_path), "OVRECIPE_CACHE": str(tmp_path / "cache")}
    served = serve(str(out), str(vectors), project=tiny_project, **nowhere)
    listed = {one.id: one.model_extra for one in served.client().models.list().data}
    assert set(listed) == {TWIN, f"{TWIN}@", f"{TWIN}@louder", BERT}
    assert len(listed[TWIN]["sha256"]) == 64
    for model in (TWIN, f"{TWIN}@louder"):
        answer = served.client().completions.create(model=model, prompt="Paris", max_tokens=2)
        assert answer.model == model
    assert served.client().embeddings.create(model=BERT, input="x").data
    twice = [command, "serve", TWIN, str(out), "--port", "0"]
    done = subprocess.run(twice, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 11
    assert f"there is another {TWIN} already" in " ".join(done.stderr.split())
    # Of another shape, with which GenAI would answer as if there were none, or fail.
    adapter, *_ = sorted(out.glob("*.safetensors"))
    write_adapter(adapter, size=96)
    damaged = [command, "serve", str(out), "--port", "0"]
    done = subprocess.run(damaged, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert f"{adapter.name}: has " in done.stderr
