"""``fsl-explain train``."""

from pathlib import Path

from fsl_explain.cli.options import Changes
from fsl_explain.config import TrainingConfig, read_config


def train(
    *,
    config: Path,
    resume: bool = False,
    set_: Changes = (),
) -> None:
    """Train an encoder and write its weights as safetensors, and what they were made from as JSON beside them.

    In episodes, with Multi-Similarity or Margin loss, or without labels as NPID and MoCo do: [objective] says which.
    With a [test] section the accuracy on its episodes is printed, before and after training. Several GPUs share every
    batch where torchrun starts one process for each.

    Parameters
    ----------
    config
        TOML file of the training, for example configs/live/digit-scenes.toml.
    resume
        Go on with an interrupted training of the same settings; it ends at the same weights.
    set_
        Change one setting, for example --set optimizer.epochs=2; may be repeated.

    Examples
    --------
    fsl-explain train --config train.toml
    fsl-explain train --config train.toml --resume --set optimizer.epochs=40
    """
    settings = read_config(config, TrainingConfig, set_)
    settings.data.check_there()
    settings.encoder.check_there()

    from fsl_explain.cli.train import run

    run(settings, resume)
