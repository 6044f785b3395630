"""A random network of a few channels, small enough to explain in a millisecond, and heads of every kind."""

import torch
from torch import Tensor, nn

from fsl_explain import Encoder
from fsl_explain.encoder import Preprocess
from fsl_explain.heads import Center, L2Normalize, Pooling

CHANNELS = 4
IMAGE = (6, 8)  # maps of 3 × 4 cells


class TinyNetwork(nn.Module):
    """One convolution with signed maps of 3 × 4 cells for images of 6 × 8, and a classifier behind it."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel_size=2, stride=2)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.LeakyReLU(0.5)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(channels, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.activation(self.norm(self.conv(images)))
        return self.classifier(self.dropout(maps.mean(dim=(-2, -1))))


def tiny_network(seed: int = 0, channels: int = CHANNELS) -> TinyNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TinyNetwork(channels)
    with torch.no_grad():
        network.conv.bias[0] = -2.0  # a channel whose pooled value is negative, whatever the pooling
    return network


def tiny_encoder(
    head: nn.Module | None = None,
    pooling: str | Pooling = "gap",
    dtype: torch.dtype = torch.float64,
    preprocess: Preprocess | None = None,
) -> Encoder:
    network = tiny_network().to(dtype)
    return Encoder.wrap(network, "activation", None if head is None else head.to(dtype), pooling, preprocess)


def images(*leading: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, 3, *IMAGE, generator=generator, dtype=torch.float64).to(dtype)


def random_batch_norm(channels: int, affine: bool = True) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(channels, affine=affine)
    norm.running_mean = torch.randn(channels)
    norm.running_var = torch.rand(channels) + 0.5
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def random_layer_norm(channels: int) -> nn.LayerNorm:
    norm = nn.LayerNorm(channels)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def random_prelu(channels: int) -> nn.PReLU:
    activation = nn.PReLU(channels)
    nn.init.uniform_(activation.weight)
    return activation


HEADS = {
    "none": lambda n: None,
    "linear": lambda n: nn.Linear(n, 3),
    "linear-without-bias": lambda n: nn.Linear(n, 5, bias=False),
    "l2": lambda n: L2Normalize(),
    "linear-l2": lambda n: nn.Sequential(nn.Linear(n, 3), L2Normalize()),
    "batch-norm": random_batch_norm,
    "batch-norm-without-gain": lambda n: random_batch_norm(n, affine=False),
    "mlp": lambda n: nn.Sequential(nn.Linear(n, 6), nn.ReLU(), nn.Linear(6, 3)),
    "leaky-mlp": lambda n: nn.Sequential(
        nn.Sequential(nn.Linear(n, 6), nn.LeakyReLU(0.1)), nn.Dropout(), nn.Linear(6, 3)
    ),
    "leaky": lambda n: nn.LeakyReLU(0.2),
    "prelu-mlp": lambda n: nn.Sequential(nn.Linear(n, 6), random_prelu(6), nn.Linear(6, 3)),
    "gelu-mlp": lambda n: nn.Sequential(nn.Linear(n, 6), nn.GELU(), nn.Linear(6, 3)),
    "layer-norm": random_layer_norm,
    "center-l2": lambda n: nn.Sequential(Center(torch.randn(n)), L2Normalize()),
    "simclr": lambda n: nn.Sequential(
        nn.Linear(n, 6, bias=False), random_batch_norm(6), nn.ReLU(), nn.Linear(6, 3, bias=False)
    ),
    "moco-v2": lambda n: nn.Sequential(nn.Linear(n, 6), nn.ReLU(), nn.Linear(6, 3), L2Normalize()),
}


def random_head(name: str, channels: int = CHANNELS, seed: int = 1) -> nn.Module | None:
    """Build a head with random weights, ready for use; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = HEADS[name](channels)
    return None if head is None else head.eval()
