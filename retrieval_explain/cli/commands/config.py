"""``retrieval-explain config``."""

from collections.abc import Mapping
from typing import Annotated

from fsl_explain.cli.commands.config import show
from fsl_explain.cli.options import among
from fsl_explain.config.strict import Settings
from retrieval_explain.settings import BankEvaluationConfig

MODELS: Mapping[str, type[Settings]] = {"evaluate": BankEvaluationConfig}


def config(
    command: Annotated[str | None, among("command with a configuration", MODELS)] = None, *, schema: bool = False
) -> None:
    """Print a commented example of the TOML file that a command takes with --config, or its JSON schema.

    The example can be read as it is: it holds every default, with the demo's data.

    Parameters
    ----------
    command
        evaluate.
    schema
        Print the JSON schema instead, which editors and other programs check a file by; without a command those of
        all commands, by their names.

    Examples
    --------
    retrieval-explain config evaluate > bank.toml
    retrieval-explain config evaluate --schema > bank.schema.json
    """
    show(MODELS, command, schema)
