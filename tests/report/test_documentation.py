"""docs/report.md names every key of the document, and no other."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY
from tests.report.making import document, variant

TEXT = (REPOSITORY / "docs" / "report.md").read_text("utf-8")


def test_every_key_is_documented_and_no_other() -> None:
    """Programs are written against this list."""
    rows = re.findall(r"^\| (`.*?) \|", TEXT, flags=re.MULTILINE)
    assert {key for row in rows for key in re.findall(r"`(\w+)`", row)} == {*document()}


def test_every_key_of_a_variant_is_documented() -> None:
    """They are the figures that a program looks for."""
    [paragraph] = re.findall(r"^A variant has .*?\n\n", TEXT, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([a-z_]+)`", paragraph)) - {"accepted", "refused", "stale"}
    assert named == {*variant("int4", 86_000_000, 0.37)}
