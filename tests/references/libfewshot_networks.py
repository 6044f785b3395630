"""The networks of LibFewShot a second time, by the names of its files: one layer after the other, in evaluation."""

import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def normalized(maps: Tensor, state: State, name: str) -> Tensor:
    statistics = (state[f"{name}.running_mean"], state[f"{name}.running_var"])
    return F.batch_norm(maps, *statistics, state[f"{name}.weight"], state[f"{name}.bias"])


def conv64f(images: Tensor, state: State, *, negative_slope: float, last_pool: bool, maxpool_last2: bool) -> Tensor:
    maps = images
    for block, pools in enumerate((True, True, maxpool_last2, last_pool), start=1):
        name = f"emb_func.layer{block}"
        maps = F.conv2d(maps, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1)
        maps = F.leaky_relu(normalized(maps, state, f"{name}.1"), negative_slope)
        maps = F.max_pool2d(maps, 2) if pools else maps
    return maps


def resnet12(images: Tensor, state: State, *, maxpool_last2: bool) -> Tensor:
    maps = images
    for block, pools in enumerate((True, True, maxpool_last2, maxpool_last2), start=1):
        name, out = f"emb_func.layer{block}.0", maps
        for number in (1, 2, 3):
            out = F.conv2d(out, state[f"{name}.conv{number}.weight"], padding=1)
            out = normalized(out, state, f"{name}.bn{number}")
            out = F.leaky_relu(out, 0.1) if number < 3 else out
        beside = normalized(F.conv2d(maps, state[f"{name}.downsample.0.weight"]), state, f"{name}.downsample.1")
        maps = F.leaky_relu(out + beside, 0.1)
        maps = F.max_pool2d(maps, 2) if pools else maps
    return maps
