"""The precisions a matrix can get: their bytes, and the error they make.

The arithmetic of rounding follows NNCF's integer modes, so that an error measured here is the
error of the weights that NNCF will write.

Source: nncf.compress_weights, NNCF 3.4 (INT4_ASYM, INT4_SYM, INT8_ASYM).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Array = NDArray[float32]

#: Bytes of a scale, which NNCF stores in f16.
SCALE_BYTES = 2
#: Rows that are rounded at a time: bounds the memory for a vocabulary of any size.
ROWS = 8192
KEPT = "kept"


@dataclass(frozen=True)
class Format:
    """An integer precision; `group_size` -1 is one scale for a row, as NNCF has it."""

    bits: int
    group_size: int
    sym: bool = False

    @property
    def name(self) -> str:
        """The name in facts and in the file of the pass: `int4_asym_g64`."""
        group = "" if self.group_size == -1 else f"_g{self.group_size}"
        return f"{self.mode}{group}"

    @property
    def mode(self) -> str:
        """NNCF's name of the mode."""
        return f"int{self.bits}_{'sym' if self.sym else 'asym'}"

    def fits(self, channels: int) -> bool:
        """Return whether the groups divide a row of so many channels."""
        return self.group_size == -1 or (channels % self.group_size == 0)

    def size_bytes(self, rows: int, channels: int) -> int:
        """Return what a matrix takes: integers, scales and zero points."""
        groups = rows * (1 if self.group_size == -1 else channels // self.group_size)
        zero_point_bits = 0 if self.sym else self.bits
        integers = _whole_bytes(rows * channels * self.bits)
        return integers + groups * SCALE_BYTES + _whole_bytes(groups * zero_point_bits)

    def error(self, weight: Array, power: Array) -> float:
        """Return the summed squared error, each column weighted by the power of its input.

        `weight` has the shape (rows, channels), `power` (channels,).
        """
        blocks = (weight[begin : begin + ROWS] for begin in range(0, len(weight), ROWS))
        return float(sum(self._block_error(block, power) for block in blocks))

    def _block_error(self, block: Array, power: Array) -> float:
        import numpy as np

        size = block.shape[1] if self.group_size == -1 else self.group_size
        groups = block.reshape(len(block), -1, size)
        rounded = self._sym(groups) if self.sym else self._asym(groups)
        squares = np.square(rounded - groups).reshape(block.shape)
        return float(squares.sum(0, dtype=np.float64) @ power)

    def _asym(self, groups: Array) -> Any:
        """Return the groups rounded to levels between their own minimum and maximum."""
        import numpy as np

        highest = 2**self.bits - 1
        low, high = groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
        scale = _no_zeros((high - low) / highest)
        zero = np.clip(np.round(-low / scale), 0, highest)
        return (np.clip(np.round(groups / scale) + zero, 0, highest) - zero) * scale

    def _sym(self, groups: Array) -> Any:
        """Return the groups rounded to levels whose outermost is the largest value's sign."""
        import numpy as np

        half = 2 ** (self.bits - 1)
        low, high = -groups.min(-1, keepdims=True), groups.max(-1, keepdims=True)
        scale = _no_zeros(np.where(low >= high, low, -high) / half)
        return np.clip(np.round(groups / scale), -half, half - 1) * scale


def _whole_bytes(bits: int) -> int:
    return -(-bits // 8)


def _no_zeros(scale: Any) -> Any:
    """Return the scale with the smallest step where all weights are equal, as NNCF does."""
    import numpy as np

    eps = np.finfo(np.float32).eps
    return np.where(np.abs(scale) < eps, np.where(scale < 0, -eps, eps), scale)


#: From the most to the least precise. One group size fewer is one pass of NNCF fewer.
FORMATS = (
    Format(8, -1),
    Format(4, 32),
    Format(4, 64),
    Format(4, 128),
    Format(4, 128, sym=True),
    Format(4, -1, sym=True),
)
BY_NAME = {precision.name: precision for precision in FORMATS}


def formats_for(precision: str) -> tuple[Format, ...]:
    """Return what a variant of that precision may use: it names the lowest."""
    bits = int(precision.removeprefix("int"))
    return tuple(precision for precision in FORMATS if precision.bits >= bits)
