"""Which versions of a framework an adapter was made for."""

from __future__ import annotations

import re
from importlib import metadata

from ..errors import MissingExtraError

__all__ = ["require_version"]


def require_version(distribution: str, lowest: str, below: str) -> str:
    """Refuse frameworks that the adapter does not know, before anything of them is imported.

    Parameters
    ----------
    distribution : str
        Name on the package index.
    lowest, below : str
        The versions v that were tested, lowest <= v < below, as dotted numbers.

    Returns
    -------
    str
        The version that is installed.

    Raises
    ------
    MissingExtraError
        There is none, or another.
    """
    remedy = f'pip install "{distribution}>={lowest},<{below}"'
    try:
        found = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise MissingExtraError(f"{distribution} is not installed: {remedy}") from None
    if not _numbers(lowest) <= _numbers(found) < _numbers(below):
        raise MissingExtraError(f"{distribution} {found} is not known to this adapter: {remedy}")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version; what follows it (rc1, .post1, +cpu) does not matter here."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()
