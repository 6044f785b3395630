"""The commands of ``retrieval-explain``."""

import sys
from collections.abc import Sequence

from cyclopts import App

from fsl_explain.cli import manners
from retrieval_explain.cli.commands.audit import audit
from retrieval_explain.cli.commands.build import build
from retrieval_explain.cli.commands.config import config
from retrieval_explain.cli.commands.evaluate import evaluate
from retrieval_explain.cli.commands.import_bank import import_bank
from retrieval_explain.cli.commands.inspect import inspect
from retrieval_explain.cli.commands.local_features import local_features
from retrieval_explain.cli.commands.remove import remove
from retrieval_explain.cli.commands.search import search
from retrieval_explain.cli.commands.serve import serve

INTERRUPTED = "a build keeps the images that are done: add --resume to go on. Nothing else was written."

app: App = manners.new_app(
    "retrieval-explain",
    "Explain what a search in a bank of images returns: why these images came back, which regions met, and how "
    "the neighbors' votes add up.",
    "build IMAGES --bank DIR",
)
manners.add(app, build, local_features, search, inspect, serve, evaluate, audit, remove)
manners.add(app, import_bank, name="import")
manners.add(app, config)
manners.add_completion(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with 0, with 2 after a mistake of the user, with 130 after Ctrl-C.

    ``arguments`` are a command and its options; None: those that this process was started with.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    return manners.run(app, arguments, INTERRUPTED)
