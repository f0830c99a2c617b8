"""Words that messages share: the closest name, sizes, counts, digests, others' errors."""

from collections.abc import Iterable

#: How many digits of a key or a commit messages and names of folders have.
SHORT = 12


def perhaps(name: str, known: Iterable[str]) -> str:
    """Return `; perhaps you meant 'group_size'`, or nothing when no known name is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f"; perhaps you meant {close[0]!r}" if close else ""


def amount(size_bytes: float) -> str:
    """Return a size as people read it, in decimal units: `85.8 MB`, `1.38 GB`."""
    for unit, size, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if size_bytes >= size:
            return f"{size_bytes / size:.{digits}f} {unit}"
    return f"{size_bytes:.0f} bytes"


def nats(divergence: float) -> str:
    """Return a divergence as people read it: `0.066`, `<1e-6` where a manifest rounds to 0."""
    return f"{divergence:#.2g}".rstrip(".") if divergence >= 1e-6 else "<1e-6"


def counted(number: int, noun: str) -> str:
    """Return `1 artifact` or `3 artifacts`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line(error: BaseException) -> str:
    """Return `ImportError: no module named 'nncf'`, without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def last_line(error: BaseException) -> str:
    """Return the sentence of an OpenVINO error, which stands below places in its source."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
