"""``fsl-explain config``."""

import json
from collections.abc import Mapping
from typing import Annotated

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


def config(command: Annotated[str, among("command with a configuration", MODELS)], *, schema: bool = False) -> None:
    """Print a commented example of the TOML file that a command takes with --config, or its JSON schema.

    The example can be read as it is: it holds every default, with the demo's data.

    Parameters
    ----------
    command
        evaluate, mosaics, compare, figure or train.
    schema
        Print the JSON schema instead, which editors and other programs check a file by.

    Examples
    --------
    fsl-explain config evaluate > evaluate.toml
    fsl-explain config mosaics --schema > mosaics.schema.json
    """
    show(MODELS[command], schema)


def show(model: type[Settings], schema: bool) -> None:
    """Print the example of a model of settings, or its JSON schema."""
    text = json.dumps(schema_of(model), indent=2, ensure_ascii=False) if schema else example(model).rstrip("\n")
    say(text, lines=True)
