"""The commands, and how they end: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import fsl_explain
from fsl_explain.cli.demo import demo
from fsl_explain.cli.evaluate import evaluate
from fsl_explain.cli.explain import explain
from fsl_explain.cli.mosaics import mosaics
from fsl_explain.cli.train import train

MISTAKES = (ValueError, LookupError, TypeError)
"""Raised with a sentence for the user; subclasses such as KeyError are faults of ours and keep their traceback."""

app = App(
    name="fsl-explain",
    version=fsl_explain.__version__,
    help="Explain decisions that vision models make by similarity: which regions, channels and support images "
    "made the score what it is, and how far the map can be trusted.\n\n"
    "Results go to stdout or to the file or folder named with --out, progress to stderr. A mistake in the "
    "input ends with exit code 2 and one sentence.",
    help_epilogue="Start with: fsl-explain demo",
    suppress_keyboard_interrupt=False,
)
for command in (demo, explain, evaluate, mosaics, train):
    app.command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(
            "fsl-explain: interrupted; no result was written. An evaluation with --out keeps finished episodes: "
            "add --resume to go on.",
            file=sys.stderr,
        )
        return 130
    except OSError as error:
        return _complain(str(error) if error.strerror is None else f"{error.strerror}: {error.filename}.")
    except MISTAKES as error:
        if type(error) not in MISTAKES:
            raise
        return _complain(str(error))
    return 0


def _complain(sentence: str) -> int:
    print(f"fsl-explain: {' '.join(sentence.split())}", file=sys.stderr)
    return 2
