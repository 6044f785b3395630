"""Settings, images and networks so small that a training takes a fraction of a second."""

from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import torch

from episodes import LabeledImage
from fsl_explain import Encoder
from fsl_explain.config import HeadConfig, TrainingConfig

SIZE = 16
OBJECTIVES = {
    "episodic": {"kind": "episodic", "n_way": 2, "n_shot": 1, "n_query": 2, "episodes_per_batch": 2},
    "multi-similarity": {"kind": "multi-similarity", "classes_per_batch": 4, "images_per_class": 3},
    "margin": {"kind": "margin", "classes_per_batch": 4, "images_per_class": 3},
    "margin, learned": {"kind": "margin", "classes_per_batch": 4, "images_per_class": 3, "learn_boundary": True},
    "NPID": {"kind": "instance-discrimination", "batch_size": 6, "negatives": 7},
    "NPID, full": {"kind": "instance-discrimination", "batch_size": 6, "negatives": 0},
    "MoCo": {"kind": "momentum-contrast", "batch_size": 6, "queue": 12, "momentum": 0.9},
}


@dataclass
class NoiseImages:
    """Images of noise, some larger than others; ``read`` counts how often each was opened."""

    per_class: int = 5
    classes: tuple[str, ...] = ("ant", "bee", "cow", "dog")
    broken: int | None = None
    name: str = "noise"
    read: list[int] = field(default_factory=list)

    def __post_init__(self):
        self.labels = np.arange(len(self.classes) * self.per_class, dtype=np.int64) % len(self.classes)
        self.paths = (None,) * len(self.labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        if position == self.broken:
            raise ValueError(f"expected an image, but number {position} is broken; drop it.")
        self.read.append(position)
        chance, label = np.random.default_rng(position), int(self.labels[position])
        pixels = chance.integers(0, 256, (18 + 2 * (position % 3), 20, 3), dtype=np.uint8)
        return LabeledImage(PIL.Image.fromarray(pixels), label, self.classes[label], None, None)


def tiny_encoder(head=None, size=SIZE):
    return Encoder.named("conv4net", channels=4, size=size, head=head)


def with_head():
    return tiny_encoder(HeadConfig(kind="linear", width=3, normalize=True))


def settings(objective, output="weights.safetensors", **sections):
    chosen = OBJECTIVES[objective] if isinstance(objective, str) else objective
    optimizer = {"epochs": 2, "batches_per_epoch": 4, "learning_rate": 0.05} | sections.pop("optimizer", {})
    data = {"kind": "digit-scenes", "digits": "base", "per_class": 2}
    values = {"data": data, "objective": chosen, "output": output, "optimizer": optimizer} | sections
    return TrainingConfig.model_validate(values)


def weights(encoder):
    parts = (encoder.network, encoder.head)
    return {f"{i}.{name}": value.clone() for i, part in enumerate(parts) for name, value in part.state_dict().items()}


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name
