"""The papers' convolutional networks as functions of a state dict: w holds the parameters by their published names."""

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def conv(w: Weights, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), stride, padding)


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """γ (x - μ) / √(σ² + ε) + β with the running statistics."""
    mu, var, gamma, beta = (
        w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return gamma * (x - mu) / (var + 1e-5).sqrt() + beta


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def halved(x: Tensor) -> Tensor:
    """The maximum of each 2×2 square; a last odd row or column is left out."""
    h, w = x.shape[-2] // 2, x.shape[-1] // 2
    return x[..., : 2 * h, : 2 * w].unflatten(-2, (h, 2)).unflatten(-1, (w, 2)).amax(dim=(-3, -1))


def conv4net(w: Weights, x: Tensor, slope: float) -> Tensor:
    for i in range(1, 5):
        block = f"blocks.block{i}"
        x = halved(leaky(norm(w, f"{block}.norm", conv(w, f"{block}.conv", x, padding=1)), slope))
    return x


def conv64f(w: Weights, x: Tensor, slope: float, padding: int = 0) -> Tensor:
    for i, p in zip(range(1, 5), (padding, padding, 1, 1), strict=True):
        x = leaky(norm(w, f"layer{i}.1", conv(w, f"layer{i}.0", x, padding=p)), slope)
        x = halved(x) if i <= 2 else x
    return x


def resnet12(w: Weights, x: Tensor, slope: float) -> Tensor:
    for i in range(1, 5):
        b = f"layer{i}.0"
        y = leaky(norm(w, f"{b}.bn1", conv(w, f"{b}.conv1", x, padding=1)), slope)
        y = leaky(norm(w, f"{b}.bn2", conv(w, f"{b}.conv2", y, padding=1)), slope)
        y = norm(w, f"{b}.bn3", conv(w, f"{b}.conv3", y, padding=1))
        x = halved(leaky(y + norm(w, f"{b}.downsample.1", conv(w, f"{b}.downsample.0", x)), slope))
    return x


def can_resnet12(w: Weights, x: Tensor, slope: float) -> Tensor:
    x = leaky(norm(w, "bn1", conv(w, "conv1", x, padding=1)), slope)
    for i in range(1, 5):
        b = f"layer{i}.0"
        y = leaky(norm(w, f"{b}.bn1", conv(w, f"{b}.conv1", x, 1, 1)), slope)
        y = leaky(norm(w, f"{b}.bn2", conv(w, f"{b}.conv2", y, 2, 1)), slope)
        y = norm(w, f"{b}.bn3", conv(w, f"{b}.conv3", y, 1, 1))
        x = leaky(y + norm(w, f"{b}.downsample.1", conv(w, f"{b}.downsample.0", x, 2)), slope)
    return x


def wide_resnet(w: Weights, x: Tensor, slope: float, blocks: int) -> Tensor:
    x = conv(w, "conv1", x, padding=1)
    for group, stride in (("block1", 1), ("block2", 2), ("block3", 2)):
        for i in range(blocks):
            b = f"{group}.layer.{i}"
            first = leaky(norm(w, f"{b}.bn1", x), slope)
            s = stride if i == 0 else 1
            y = leaky(norm(w, f"{b}.bn2", conv(w, f"{b}.conv1", first, s, 1)), slope)
            if f"{b}.convShortcut.weight" in w:
                x = conv(w, f"{b}.convShortcut", first, s)
            x = x + conv(w, f"{b}.conv2", y, padding=1)
    return leaky(norm(w, "bn1", x), slope)


def bn_inception(w: Weights, x: Tensor) -> Tensor:
    def unit(name: str, x: Tensor, stride: int = 1) -> Tensor:
        return norm(w, f"{name}_bn", conv(w, name, x, stride, w[f"{name}.weight"].shape[-1] // 2)).clamp(min=0)

    def ceil_pool(x: Tensor) -> Tensor:
        """Maxima of 3×3 every two cells; the last window may hang over the edge."""
        h, w = (1 + -(-(n - 3) // 2) for n in x.shape[-2:])
        rows = [[x[..., 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax(dim=(-2, -1)) for j in range(w)] for i in range(h)]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    x = ceil_pool(unit("conv1_7x7_s2", x, 2))
    x = ceil_pool(unit("conv2_3x3", unit("conv2_3x3_reduce", x)))
    for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        b = f"inception_{name}"
        s = 2 if name in ("3c", "4e") else 1
        three = unit(f"{b}_3x3", unit(f"{b}_3x3_reduce", x), s)
        double = unit(f"{b}_double_3x3_2", unit(f"{b}_double_3x3_1", unit(f"{b}_double_3x3_reduce", x)), s)
        if s == 2:
            x = torch.cat([three, double, ceil_pool(x)], 1)
            continue
        windows = F.unfold(x, 3, padding=1).unflatten(1, (x.shape[1], 9))
        pooled = windows.amax(2) if name == "5b" else windows.sum(2) / 9
        pooled = pooled.unflatten(-1, x.shape[-2:])
        x = torch.cat([unit(f"{b}_1x1", x), three, double, unit(f"{b}_pool_proj", pooled)], 1)
    return x
