"""The command line ``retrieval-explain``."""

from retrieval_explain.cli.app import main

__all__ = ["main"]
