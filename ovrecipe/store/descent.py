"""What was made from damaged artifacts, and removing both."""

from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from ovrecipe.errors import ArtifactCorrupt, ArtifactTooNew, NotBuilt
from ovrecipe.store.manifest import read_manifest
from ovrecipe.store.store import Store
from ovrecipe.wording import SHORT


class Place(NamedTuple):
    """Where an artifact lies in the store."""

    stage: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.stage} {self.sha256[:SHORT]}"


def descendants(store: Store, ancestors: Collection[Place]) -> dict[Place, Place]:
    """Return what was made from artifacts, however far, each with what it was made from.

    The manifests say so, of the ancestors too; what cannot be read was made from nothing known.
    """
    made = _made_from_each(store)
    found: dict[Place, Place] = {}
    waiting = list(ancestors)
    while waiting:
        place = waiting.pop(0)
        for child in made.get(place.sha256, ()):
            if child not in found and child not in ancestors:
                found[child] = place
                waiting.append(child)
    return found


def remove_youngest_first(store: Store, doomed: Collection[Place]) -> set[Place]:
    """Remove artifacts, each after what was made from it, and return those that are gone.

    What a running build uses stays, and what that was made from stays with it: so the next look
    finds both again.
    """
    made = _made_from_each(store)
    is_gone: dict[Place, bool] = {}

    def remove(place: Place) -> bool:
        if place not in is_gone:
            younger = [remove(child) for child in made.get(place.sha256, ()) if child in doomed]
            is_gone[place] = all(younger) and store.discard_if_unused(*place)
        return is_gone[place]

    return {place for place in doomed if remove(place)}


def _made_from_each(store: Store) -> dict[str, list[Place]]:
    """Return what was directly made from each artifact, by its sha256."""
    found: dict[str, list[Place]] = {}
    for stage, sha256, folder in store.folders():
        with suppress(NotBuilt, ArtifactCorrupt, ArtifactTooNew):
            for name in read_manifest(folder).inputs:
                found.setdefault(name, []).append(Place(stage, sha256))
    return found
