"""Modules that mix the images of a batch even in eval mode, so that an embedding depends on its companions."""

import warnings

from torch import nn

from fsl_explain.backbones.wrappers import on_one_device


def mixing_parts(*networks: nn.Module) -> list[str]:
    """Name the batch normalizations without running statistics, which normalize with those of the batch."""
    return [
        name or type(module).__name__
        for network in networks
        for name, module in on_one_device(network).named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None
    ]


def warn_of_mixing(*networks: nn.Module, owner: str) -> None:
    """Warn once, by name, of batch normalization without running statistics."""
    mixing = mixing_parts(*networks)
    if mixing:
        others = f" and {len(mixing) - 1} more" if len(mixing) > 1 else ""
        warnings.warn(
            f"expected batch normalization with running statistics, but {mixing[0]}{others} of {owner} has none and "
            "uses those of each batch, so that an embedding depends on the images beside it; train it with "
            "track_running_stats=True, or compare only images of one batch.",
            stacklevel=3,
        )
