"""The augmented images of each step, the same whatever process prepares them and whatever was drawn before."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.training.augmentation import Augmentation
from fsl_explain.training.objective import Batch, Objective
from fsl_explain.training.processes import own_share, processes
from fsl_explain.training.seeds import seeded

KEPT_PIXELS = 200_000_000
"""Pixels of settled images that stay in memory, in all processes that prepare batches together."""


@dataclass
class KeptImages:
    """Settled images that stay in memory as long as there is room for their pixels."""

    images: dict[int, Tensor] = field(default_factory=dict)
    pixels: int = 0

    def add(self, image: int, settled: Tensor) -> None:
        """Keep an image if there is room."""
        worker, size = get_worker_info(), settled[0].numel()
        if self.pixels + size <= KEPT_PIXELS // (1 if worker is None else worker.num_workers):
            self.images[image] = settled
            self.pixels += size


@dataclass(frozen=True)
class ImageBatches(Dataset[Batch]):
    """Step i of a training as a batch; several processes share its units evenly.

    Raises: ``ValueError`` for units that cannot be shared evenly.
    """

    dataset: LabeledImages
    objective: Objective
    augmentation: Augmentation
    seed: int
    kept: KeptImages = field(default_factory=KeptImages)

    def __post_init__(self) -> None:
        units = len(self.objective.draw(0))
        if units % processes():
            raise Mistake(
                f"expected a batch that {processes()} processes can share, but it has {units} parts; "
                "change the objective's size."
            )

    def __getitem__(self, step: int) -> Batch:
        units = self.objective.draw(step)
        places = np.arange(units.size).reshape(units.shape)
        mine = own_share()
        images = units[mine]
        views = [self._view(images, places[mine], step, view) for view in range(self.objective.views)]
        labels = self.dataset.labels[images].astype(np.int64)
        return Batch(torch.stack(views), torch.from_numpy(images.astype(np.int64)), torch.from_numpy(labels))

    def _view(
        self, images: Int64[np.ndarray, "unit image"], places: Int64[np.ndarray, "unit image"], step: int, view: int
    ) -> Tensor:
        pixels = []
        for image, place in zip(images.flat, places.flat, strict=True):
            with seeded(self.seed, step, int(place), view):
                pixels.append(self.augmentation.drawn(self._settled(int(image))))
        stacked: Tensor = torch.stack(pixels).unflatten(0, images.shape)
        return stacked

    def _settled(self, image: int) -> Tensor:
        if image not in self.kept.images:
            settled: Tensor = self.augmentation.settled(self.dataset[image].image)
            self.kept.add(image, settled)
            return settled
        return self.kept.images[image]

    def steps(self, first: int, end: int, workers: int) -> Iterator[Batch]:
        """Yield the batches from step ``first`` up to ``end``, prepared by ``workers`` further processes."""
        # A generator of its own: the loader draws a seed for its processes from it, not from the global one.
        own = torch.Generator()
        loader: DataLoader[Batch | Exception] = DataLoader(
            _Excused(self), batch_size=None, sampler=range(first, end), num_workers=workers, generator=own
        )
        for batch in loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch


@dataclass(frozen=True)
class _Excused(Dataset[Batch | Exception]):
    """Hands a mistake over as a value: the loader would bury the sentence of another process in a traceback."""

    batches: ImageBatches

    def __getitem__(self, step: int) -> Batch | Exception:
        try:
            return self.batches[step]
        except (ValueError, LookupError, TypeError, OSError) as mistake:
            return mistake
