"""Commands, and how their errors reach the user: one line that says what to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from cyclopts.config import Env

from .. import __version__
from ..errors import AnswerFormatError, EngineError, SearchError
from ..search.tree_view import printable
from .aliases import translate
from .bench import bench
from .data import data_app
from .doctor import doctor
from .engine import engine_app
from .eval import evaluate
from .recipe import RecipeDefaults
from .runs import merge, query, runs, show
from .settings import STDIN
from .solve import solve
from .study import study_app
from .termination import EXIT_CODE, terminable
from .train import train_app
from .train_recipe import TrainDefaults

app = App(
    name="rtsearch",
    version=__version__,
    help="Reward-guided tree search over LLM reasoning.",
    suppress_keyboard_interrupt=False,  # `run` has something to say of it
)
app.command(solve)
app.command(evaluate, name="eval")
app.command(runs)
app.command(show)
app.command(query)
app.command(merge)
app.command(doctor)
app.command(bench)
app.command(engine_app)
app.command(train_app)
app.command(study_app)
app.command(data_app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    # It tells of every retry; what comes of them is told here.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    _show_warnings()
    arguments = [_translate(argument) for argument in arguments]
    recipe, training = RecipeDefaults(), TrainDefaults()
    # RTSEARCH_BUDGET_TOKENS=1000 stands for --budget-tokens 1000, and so on. The command line
    # precedes the environment, which precedes the recipe.
    app.config = (Env("RTSEARCH_", command=False), recipe, training)
    with terminable() as termination:
        try:
            code = app(
                arguments, exit_on_error=False, print_error=False, result_action="return_value"
            )
        except CycloptsError as error:
            _complain(f"{error} (see rtsearch --help)")
            return 2
        except SearchError as error:
            text = (training if training.used else recipe).explain(error)
            _complain(text + _remedy(error, arguments))
            return 1
        except KeyboardInterrupt:
            _complain(
                f"{'terminated' if termination.asked else 'interrupted'}; what was finished "
                "before is in --output, if it was given, and --resume goes on with the rest"
            )
            code = 130
        # a command may have said itself that it was ended
        return EXIT_CODE if termination.asked and code else code or 0


def _remedy(error: SearchError, arguments: Sequence[str]) -> str:
    """What goes for all errors of an engine in the midst of a run."""
    text = ""
    if isinstance(error, AnswerFormatError):
        text += ": `rtsearch doctor`, with the same models, tells whether the engine can be used"
    is_run = isinstance(error, EngineError) and arguments[:1] in (["eval"], ["solve"])
    if is_run and _keeps_records(arguments) and "--resume" not in str(error):
        text += "; what was finished before is kept, --resume goes on with the rest"
    return text


def _keeps_records(arguments: Sequence[str]) -> bool:
    names = [argument.partition("=")[0] for argument in arguments]
    return arguments[0] == "eval" or "-o" in names or "--output" in names


def _show_warnings() -> None:
    """Print warnings of this package, such as of a server that is lost, in the form of errors."""
    logger = logging.getLogger("rtsearch_fast")
    if not any(isinstance(handler, _Complaints) for handler in logger.handlers):
        logger.addHandler(_Complaints(logging.WARNING))
        logger.propagate = False


class _Complaints(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _complain(record.getMessage())


def _translate(argument: str) -> str:
    """Replace "-", which cyclopts would take for an option, and names that others use."""
    if argument == "-":
        return STDIN
    name, equals, value = argument.partition("=")
    return translate(name) + equals + value


def _complain(text: str) -> None:
    print(f"rtsearch: {printable(' '.join(text.split()))}", file=sys.stderr)
