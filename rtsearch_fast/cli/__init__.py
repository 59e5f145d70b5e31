"""The command `rtsearch`. One file a command; commands parse, call and print."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point of the command."""
    try:
        from .app import run
    except KeyboardInterrupt:
        print("rtsearch: interrupted", file=sys.stderr)
        sys.exit(130)
    except ImportError as error:
        print(
            f"rtsearch: the command line needs {error.name}: "
            'pip install "rtsearch-fast[cli]" (or [hf], which also runs models in this process)',
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
