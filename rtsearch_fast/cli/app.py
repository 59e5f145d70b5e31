"""Commands, and how their errors reach the user: one line that says what to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from .. import __version__
from ..errors import SearchError
from ..search.tree_view import printable
from .doctor import doctor
from .eval import evaluate
from .settings import STDIN
from .solve import solve

app = App(
    name="rtsearch",
    version=__version__,
    help="Reward-guided tree search over LLM reasoning.",
    # '-' and '_' are both taken in the names of options; this is what the help shows
    default_parameter=None,
    suppress_keyboard_interrupt=False,  # `run` has something to say of it
)
app.command(solve)
app.command(evaluate, name="eval")
app.command(doctor)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    # It tells of every retry; what comes of them is told here.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    # cyclopts would take it for an option
    arguments = [STDIN if argument == "-" else argument for argument in arguments]
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        _complain(f"{error} (see rtsearch --help)")
        return 2
    except SearchError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        _complain(
            "interrupted; problems finished before are in the file of --output, if one was given, "
            "and --resume goes on with the rest"
        )
        return 130
    return code or 0


def _complain(text: str) -> None:
    print(f"rtsearch: {printable(' '.join(text.split()))}", file=sys.stderr)
