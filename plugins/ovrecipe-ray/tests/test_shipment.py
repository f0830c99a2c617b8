"""How a model reaches a node: from a shared store, from elsewhere, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ovrecipe_ray.answering import threads
from ovrecipe_ray.pool import SPARE, Node, Place, Question
from ovrecipe_ray.shipment import arrived, shipment_of

from ovrecipe.build.remote import Remote
from ovrecipe.errors import ArtifactCorrupt, NotBuilt
from ovrecipe.run.load import find
from ovrecipe.store.store import Store

BIN = "openvino_model.bin"


@pytest.fixture
def found(smollm2_project):
    """The real model, as `batch` finds it."""
    return find("smollm2-135m:int4", project=smollm2_project)


@pytest.fixture
def env(tmp_path):
    """A node that has a cache folder."""
    return {"OVRECIPE_CACHE": str(tmp_path / "cache")}


@pytest.mark.model
def test_a_shared_store_is_led_to_and_opened_as_an_export(found, env):
    """Nothing is copied, and no project is needed."""
    folder = arrived(shipment_of(found, None), env)
    assert (folder / BIN).resolve() == (found.artifact.model_dir / BIN).resolve()
    again = find(folder)
    assert (again.recipe.prompt, again.artifact.variant) == (found.recipe.prompt, "int4")
    assert again.artifact.attention_backend() == found.artifact.attention_backend()


@pytest.mark.model
def test_a_model_is_taken_by_digest_where_the_store_is_not_seen(
    found, env, tmp_path, smollm2_project
):
    """Each file is compared; what is damaged in a node's own store is taken again."""
    remote = Remote(f"file://{tmp_path}/remote")
    shipment = replace(shipment_of(found, remote.url), place="/not/here")
    remote.push(Store(smollm2_project.store_dir), shipment.key)
    folder = arrived(shipment, env)
    assert (folder / BIN).read_bytes() == (found.artifact.model_dir / BIN).read_bytes()
    sent = tmp_path / "remote" / "files" / shipment.export.files[BIN].sha256
    whole = sent.read_bytes()
    sent.write_bytes(b"x" * sent.stat().st_size)
    with pytest.raises(ArtifactCorrupt, match=rf"is not {BIN} as it was built"):
        arrived(shipment, {"OVRECIPE_CACHE": str(tmp_path / "other")})
    taken = (folder / BIN).resolve()
    taken.chmod(0o644)
    taken.write_bytes(b"y" * taken.stat().st_size)
    sent.write_bytes(whole)
    assert (arrived(shipment, env) / BIN).read_bytes() == whole


@pytest.mark.model
def test_a_node_that_can_have_it_from_nowhere_says_what_would_help(found, env):
    """The user's next step is another store, or a push."""
    shipment = replace(shipment_of(found, None), place="/not/here")
    with pytest.raises(NotBuilt, match=r"does not see /not/here(.|\n)*OVRECIPE_STORE(.|\n)*push"):
        arrived(shipment, env)


def test_a_node_is_given_no_more_than_it_can_soon_answer():
    """What waits there cannot be answered by another that is done."""
    place = Place(Node("1", "one", 1), None, None, 0.0)
    assert place.room(16) == 0
    place.is_open = True
    assert place.room(16) == 16 + SPARE
    place.asked = {number: Question(None, print) for number in range(12)}
    place.running, place.waiting = 10, 2
    assert place.room(16) == 10 + SPARE - 12


def test_a_part_of_a_machine_has_as_many_threads(monkeypatch):
    """A whole machine is left to OpenVINO, which knows its cores."""
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 8)
    assert threads("CPU", 2) == {"INFERENCE_NUM_THREADS": 2}
    assert threads("CPU", 8) == threads("GPU", 2) == {}
