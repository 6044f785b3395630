"""Small networks with random statistics, one for each kind of operation that is followed back."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalized(channels: int) -> nn.BatchNorm2d:
    """Return batch normalization with statistics, gains and shifts that matter."""
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.weight, -1.5, 1.5)
    nn.init.normal_(layer.bias, 0, 0.5)
    layer.running_mean.normal_(0, 0.5)
    layer.running_var.uniform_(0.5, 2)
    return layer


def strided(inputs: int, outputs: int, kernel: int = 3, **options: int | str) -> nn.Sequential:
    """Return a convolution that halves the grid, with batch normalization and ReLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2, **options)
    return nn.Sequential(layer, normalized(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two paths that are added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.path = nn.Sequential(strided(4, 6), nn.Conv2d(6, 6, 3, padding=1), normalized(6))
        self.skip = nn.Sequential(nn.Conv2d(4, 6, 1, stride=2), normalized(6))

    def forward(self, maps: Tensor) -> Tensor:
        found = self.path(maps)
        found += self.skip(maps)
        return F.relu(found, inplace=True)


class Gated(nn.Module):
    """Squeeze and excitation, written with functions, around a depthwise convolution and SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2d(4, 4, 5, stride=2, groups=4)
        self.squeeze, self.excite, self.last = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(4, 6, 1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = F.silu(self.deep(F.pad(maps, (1, 2, 1, 2))))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(maps.mean((2, 3), keepdim=True)))))
        return F.hardswish(self.last(maps * gate) * 1.5 + 0.1)


class Dense(nn.Module):
    """Batch normalization before ReLU and convolution, and maps behind each other, averaged to a coarser grid."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = normalized(4), normalized(7)
        self.grow, self.last = nn.Conv2d(4, 3, 3, padding=1, bias=False), nn.Conv2d(7, 6, 1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = torch.cat([maps, self.grow(F.relu(self.first(maps)))], dim=1)
        return F.leaky_relu(F.avg_pool2d(self.last(F.relu(self.second(maps))), 2))


class LayerNormed(nn.Module):
    """A ConvNeXt block: channels last, layer norm, linear layers, GELU and a scale of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(4, 6, 2, stride=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.wide, self.narrow = nn.LayerNorm(6), nn.Linear(6, 12), nn.Linear(12, 6)
        self.scale = nn.Parameter(torch.randn(6))

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.down(maps)
        found = self.narrow(F.gelu(self.wide(self.norm(self.deep(maps).permute(0, 2, 3, 1)))))
        return maps + (found * self.scale).permute(0, 3, 1, 2)


class Branches(nn.Module):
    """Max pooling beside a convolution of another padding, split and shuffled channels, and resizing upwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = strided(4, 4, padding_mode="reflect")
        self.last = nn.Conv2d(8, 6, 1)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = F.max_pool2d(maps, 3, stride=2, padding=1)
        found = torch.cat([self.conv(maps), pooled], dim=1)
        found = found.view(len(found), 2, 4, *found.shape[2:]).transpose(1, 2).flatten(1, 2)
        left, right = found.chunk(2, dim=1)
        coarse = F.interpolate(F.avg_pool2d(left, 2), size=left.shape[-2:], mode="bilinear")
        return self.last(torch.cat([coarse, right], dim=1))


class Attending(nn.Module):
    """Cells mixed by attention, and two factors of which neither gates."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.keys, self.values = strided(4, 6), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.down(maps)
        keys, values = self.keys(maps).flatten(2), self.values(maps).flatten(2)
        pattern = (keys.mT @ keys).softmax(dim=-1)
        mixed = (pattern @ values.mT).mT.reshape(maps.shape)
        return maps * mixed + maps * torch.tanh(mixed)


class Selecting(nn.Module):
    """Two kernels, each weighted by a softmax over both, and added along a dimension of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = strided(4, 6), strided(4, 6, 5)
        self.choose = nn.Conv2d(6, 12, 1)

    def forward(self, maps: Tensor) -> Tensor:
        both = torch.stack([self.small(maps), self.large(maps)], dim=1)
        chosen = self.choose(both.sum(dim=1).mean((2, 3), keepdim=True))
        return (both * chosen.view(len(maps), 2, 6, 1, 1).softmax(dim=1)).sum(dim=1)


BLOCKS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: nn.Sequential(strided(4, 5, groups=1), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()),
    "residual": Residual,
    "gated": Gated,
    "dense": Dense,
    "layer norm": LayerNormed,
    "branches": Branches,
    "attention": Attending,
    "selection": Selecting,
}


class Network(nn.Module):
    """A stem, which halves the grid once, and a block of each kind, which halves it again."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.stem, self.block = strided(3, 4), block

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.block(self.stem(images))
        return found


def network(kind: str, seed: int = 0) -> Network:
    """Return a network of a kind, in float64 and in training mode, as a guest's may be."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network(BLOCKS[kind]()).double()
