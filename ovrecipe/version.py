"""Versions: that of ovrecipe, those of what is installed, and whether one fits a range."""

__version__ = "0.1.0"


def package_version(name: str) -> str | None:
    """Return the version of a distribution, or None when it is not installed."""
    import re
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    # `Distribution.version` parses the README too: 1 to 2 ms for each of them, on every build.
    line = re.search(r"^Version: *(\S+)", found.read_text("METADATA") or "", re.MULTILINE)
    return found.version if line is None else line.group(1)


def fits(version: str, specifier: str) -> bool:
    """Return whether a version fits `>=1.2,<2`; pre-releases count as what they are."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)
