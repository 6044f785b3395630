"""Trains in two processes beside each other, and keeps what each of them ends with: python two_processes.py FOLDER."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from tiny_training import OBJECTIVES, NoiseImages, settings, weights
from torch import nn

from episodes import direct_resize
from fsl_explain import Encoder
from fsl_explain.training import train
from fsl_explain.training import training as training_module


def encoder():
    """Two convolutions without batch normalization, which would see only the images of its own process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.LeakyReLU(0.1), nn.Conv2d(6, 6, 3, stride=2))
        head = nn.Linear(6, 4)
    return Encoder(network, None, "gap", head, direct_resize(16, (0.5,) * 3, (0.2,) * 3))


def trained(name):
    """Return weights, losses, and what the objective remembers."""
    runs, begun = [], training_module._begun
    training_module._begun = lambda *given: runs.append(begun(*given)) or runs[-1]
    optimizer = {"epochs": 2, "batches_per_epoch": 3, "learning_rate": 0.02}
    try:
        network = encoder()
        losses = train(network, NoiseImages(), settings(name, optimizer=optimizer))
    finally:
        training_module._begun = begun
    return {"weights": weights(network), "losses": losses, "state": dict(runs[0].objective.state_dict())}


def as_process(rank, folder):
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    torch.save({name: trained(name) for name in OBJECTIVES}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def main(folder):
    torch.set_num_threads(1)
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            as_process(rank, folder)
            os._exit(0)
        children.append(child)
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
