"""The commands of ``fsl-explain``."""

import sys
from collections.abc import Sequence

from cyclopts import App

from fsl_explain.cli import manners
from fsl_explain.cli.commands.compare import compare
from fsl_explain.cli.commands.config import config
from fsl_explain.cli.commands.convert import convert
from fsl_explain.cli.commands.demo import demo
from fsl_explain.cli.commands.evaluate import evaluate
from fsl_explain.cli.commands.explain import explain
from fsl_explain.cli.commands.figure import figure
from fsl_explain.cli.commands.init import init
from fsl_explain.cli.commands.mosaics import mosaics
from fsl_explain.cli.commands.serve import serve
from fsl_explain.cli.commands.table import table
from fsl_explain.cli.commands.train import train

INTERRUPTED = "no result was written. An evaluation with --out keeps finished episodes: add --resume to go on."

app: App = manners.new_app(
    "fsl-explain",
    "Explain decisions that vision models make by similarity: which regions, channels and support images "
    "made the score what it is, and how far the map can be trusted.",
    "demo",
)
manners.add(app, demo, init, explain, serve, evaluate, mosaics, compare, figure, table, train, convert, config)
manners.add_completion(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command ``fsl-explain`` with ``arguments``, those of the process if None, and exit.

    The exit code is 0, 2 for a mistake of the user, which is printed as one sentence, or 130 after Ctrl-C.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    return manners.run(app, arguments, INTERRUPTED)
