"""The command line ``fsl-explain``."""

from fsl_explain.cli.app import main

__all__ = ["main"]
