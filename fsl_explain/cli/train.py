"""``fsl-explain train``."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from episodes import training_transform
from fsl_explain.cli.progress import note, progress_bars
from fsl_explain.config import TrainingConfig, read_config
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import accuracy_over_episodes
from fsl_explain.metrics import mean_interval
from fsl_explain.training import train as train_encoder


def train(
    *,
    config: Path,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> None:
    """Train an encoder in episodes and write its weights as safetensors.

    With a [test] section the accuracy on its episodes is printed, before and after training.

    Parameters
    ----------
    config
        TOML file of the training, for example configs/digit-scenes.toml.
    set_
        Change one setting, for example --set optimizer.epochs=2; may be repeated.
    """
    settings = read_config(config, TrainingConfig, set_)
    if settings.output.suffix != ".safetensors":
        raise ValueError(f"expected an output that ends in .safetensors, but got {settings.output}.")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    encoder = Encoder.from_config(settings.encoder)
    if encoder.normalization is None or encoder.image_size is None:
        raise ValueError("training needs an encoder with a known preprocessing; choose conv4net.")
    dataset = settings.data.open()
    _print_accuracy("before training", encoder, settings)
    augmentation = training_transform(encoder.image_size, *encoder.normalization, flip=settings.flip)
    losses: list[float] = []
    with progress_bars() as report:
        report("training epochs", 0, settings.optimizer.epochs)

        def after_epoch(_done: int, epochs: int, loss: float) -> None:
            losses.append(loss)
            report("training epochs", 1, epochs)

        train_encoder(encoder, dataset, settings, augmentation, after_epoch)
    _save(encoder.network, settings.output)
    note(f"Mean loss of the first epoch {losses[0]:.3f}, of the last {losses[-1]:.3f}.")
    _print_accuracy("after training", encoder, settings)
    Console().print(f"Weights: {settings.output}", soft_wrap=True)


def _print_accuracy(when: str, encoder: Encoder, settings: TrainingConfig) -> None:
    if settings.test is None:
        return
    test = settings.test
    mean, half_width, episodes = mean_interval(accuracy_over_episodes(encoder, test.data.open(), test))
    sizes = test.episodes
    Console(highlight=False).print(
        f"Accuracy {when}: {100 * mean:.2f} ± {100 * half_width:.2f} % "
        f"over {episodes} {sizes.n_way}-way {sizes.n_shot}-shot episodes.",
        soft_wrap=True,
    )


def _save(network: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, unfinished)
    unfinished.replace(path)
