"""The papers' encoders as small as they can be, with weights in which every part does something."""

import torch
from torch import Tensor, nn

from fsl_explain import Encoder

SMALL = {
    "conv4net": {"channels": 3},
    "conv64f": {"channels": 3},
    "resnet12": {"widths": [3, 4, 5, 6]},
    "can-resnet12": {"widths": [3, 4, 5, 6]},
    "resnet18": {},
    "wrn-28-10": {"depth": 16, "widen_factor": 2},
    "bn-inception": {},
    "npid-resnet18": {},
    "npid-resnet50": {},
    "moco-resnet50": {},
    "moco-v2-resnet50": {},
    "simclr-resnet50": {},
    "swav-resnet50": {},
    "supervised-resnet50": {},
}
SAME_TRUNK = ("npid-resnet50", "moco-resnet50", "simclr-resnet50", "swav-resnet50", "supervised-resnet50")
DIFFERENT = tuple(name for name in SMALL if name not in SAME_TRUNK)
SIDE = 32


def random_images(*leading: int, side: int = SIDE, seed: int = 0) -> Tensor:
    return torch.randn(*leading, 3, side, side, generator=torch.Generator().manual_seed(seed))


def assert_close_in_scale(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Deep networks round relatively to their largest values, which random gains make large."""
    scale = expected.abs().max().clamp(min=1e-12)
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch normalization statistics, gains and shifts of its own, none of them neutral."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
            ):
                values.uniform_(low, high, generator=generator)
    return network


def small_encoder(name: str, inference: str = "eager", **options: object) -> Encoder:
    """A named encoder for images of ``SIDE`` pixels with lively weights."""
    encoder = Encoder.named(name, **({"size": SIDE} | SMALL[name] | options))
    lively(encoder.network)
    if inference == "eager":
        return encoder
    return Encoder(encoder.network, encoder.layer, encoder.pooling, encoder.head, inference=inference)
