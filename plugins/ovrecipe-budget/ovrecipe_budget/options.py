"""The options of the compressor: below `options` in a pass that names it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

MB = 10**6
Limit = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Options(BaseModel):
    """One of the two; both are about the whole `openvino_model.bin`, scales and all.

    `max_size_mb` counts megabytes of 10**6 bytes, as `ovrecipe sizes` does; `bits_per_weight`
    divides the file's bits by the number of weights in matrices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_size_mb: Limit | None = None
    bits_per_weight: Limit | None = None

    @model_validator(mode="after")
    def _one_of_them_is_given(self) -> Options:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = "both are" if given else "neither is"
            raise ValueError(f"give either max_size_mb or bits_per_weight; {found} given")
        return self

    def limit_bytes(self, weights: int) -> int:
        """Return the largest size of the file for a model with so many weights."""
        if self.max_size_mb is not None:
            return int(self.max_size_mb * MB)
        assert self.bits_per_weight is not None
        return int(self.bits_per_weight * weights / 8)

    def asked(self) -> str:
        """Return the option as it was written."""
        if self.max_size_mb is not None:
            return f"max_size_mb: {self.max_size_mb:g}"
        return f"bits_per_weight: {self.bits_per_weight:g}"
