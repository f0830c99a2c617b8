"""Which folders of views lead into a store, so that `gc` in one project spares the others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ovrecipe.store.disk import replace_atomically

ROOTS = ".roots"


def register_views(store_root: Path, models_dir: Path) -> None:
    """Note that the views in a folder lead into the store; noting it again changes nothing."""
    text = f"{models_dir.absolute()}\n"
    note = store_root / ROOTS / hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
    if not note.exists():
        note.parent.mkdir(exist_ok=True)
        replace_atomically(note, text)


def registered_views(store_root: Path) -> list[Path]:
    """Return the folders of views that lead into the store, those that are gone left out."""
    folder = store_root / ROOTS
    if not folder.is_dir():
        return []
    notes = [each for each in sorted(folder.iterdir()) if not each.name.startswith(".")]
    found = [Path(each.read_text(encoding="utf-8").rstrip("\n")) for each in notes]
    return [each for each in found if each.is_dir()]
