"""``fsl-explain config``."""

import json
from collections.abc import Mapping
from typing import Annotated

from episodes.errors import Mistake
from fsl_explain.cli.options import among
from fsl_explain.cli.terminal import say
from fsl_explain.config import ComparisonConfig, EvaluationConfig, FigureConfig, MosaicsConfig, TrainingConfig
from fsl_explain.config.example import example
from fsl_explain.config.example import schema as schema_of
from fsl_explain.config.strict import Settings

MODELS: Mapping[str, type[Settings]] = {
    "evaluate": EvaluationConfig,
    "mosaics": MosaicsConfig,
    "compare": ComparisonConfig,
    "figure": FigureConfig,
    "train": TrainingConfig,
}


def config(
    command: Annotated[str | None, among("command with a configuration", MODELS)] = None, *, schema: bool = False
) -> None:
    """Print a commented example of the TOML file that a command takes with --config, or its JSON schema.

    The example can be read as it is: it holds every default, with the demo's data.

    Parameters
    ----------
    command
        evaluate, mosaics, compare, figure or train.
    schema
        Print the JSON schema instead, which editors and other programs check a file by; without a command those of
        all commands, by their names.

    Examples
    --------
    fsl-explain config evaluate > evaluate.toml
    fsl-explain config mosaics --schema > mosaics.schema.json
    """
    show(MODELS, command, schema)


def show(models: Mapping[str, type[Settings]], command: str | None, schema: bool) -> None:
    """Print the example of a command's settings, or its JSON schema; without a command the schemas of all."""
    if command is None and not schema:
        raise Mistake(f"expected a command, one of {', '.join(models)}, or --schema for the schemas of all of them.")
    if schema:
        schemas = {name: schema_of(model) for name, model in models.items()}
        text = json.dumps(schemas if command is None else schemas[command], indent=2, ensure_ascii=False)
    else:
        text = example(models[str(command)]).rstrip("\n")
    say(text, lines=True)
