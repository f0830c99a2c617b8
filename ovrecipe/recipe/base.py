"""The base class of every section of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of a recipe that refuses unknown keys and does not guess at types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, populate_by_name=True
    )
