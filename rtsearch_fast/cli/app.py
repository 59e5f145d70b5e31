"""Commands, and how their errors reach the user: one line that says what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from .. import __version__
from ..errors import SearchError
from .doctor import doctor
from .eval import evaluate
from .solve import solve

app = App(
    name="rtsearch",
    version=__version__,
    help="Reward-guided tree search over LLM reasoning.",
    # '-' and '_' are both taken in the names of options; this is what the help shows
    default_parameter=None,
)
app.command(solve)
app.command(evaluate, name="eval")
app.command(doctor)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"rtsearch: {' '.join(str(error).split())} (see rtsearch --help)", file=sys.stderr)
        return 2
    except SearchError as error:
        print(f"rtsearch: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "rtsearch: interrupted; finished problems are on disk, --resume goes on with the rest",
            file=sys.stderr,
        )
        return 130
    return code or 0
