"""Few-shot tasks shared with easyfsl, in both directions; easyfsl itself is never imported.

Its ``TaskSampler`` draws lists of indices, and its collate function makes of them the five parts of a task: the images
and labels of the supports, those of the queries, and the labels that the classes have in the data set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from episodes.episode import Episode
from episodes.errors import Mistake
from episodes.labeled_image import LabeledImages
from episodes.sampler import EpisodeSampler
from episodes.transforms import prepare

Collated = tuple[
    Float[Tensor, "support color height width"],
    Int64[Tensor, "support"],
    Float[Tensor, "query color height width"],
    Int64[Tensor, "query"],
    list[int],
]


@runtime_checkable
class TaskSampler(Protocol):
    """What is read of easyfsl's ``TaskSampler``."""

    n_way: int
    n_shot: int
    n_query: int
    items_per_label: Mapping[int, Sequence[int]]

    def __iter__(self) -> Iterator[Sequence[int]]:
        """Draw tasks as lists of indices into the data set, class after class, its supports first."""


def drawn_episodes(sampler: TaskSampler) -> Iterator[Episode]:
    """Draw the tasks of easyfsl's sampler as episodes, with Python's global random state as easyfsl does.

    Indices and labels are those of its data set. No image is read.

    Raises: ``ValueError`` for a list that is no such task.
    """
    label_of = {int(item): int(label) for label, items in sampler.items_per_label.items() for item in items}
    shape = (sampler.n_way, sampler.n_shot + sampler.n_query)
    for number, task in enumerate(sampler):
        drawn = np.array(list(task), dtype=np.int64)
        labels = np.array([label_of.get(int(item), -1) for item in drawn], dtype=np.int64)
        if not _is_task(drawn, labels, shape):
            raise Mistake(
                f"expected task {number} to be {shape[0]} classes of {shape[1]} different images each, behind each "
                "other, but it is not; use easyfsl's TaskSampler."
            )
        positions = drawn.reshape(shape)
        yield Episode(
            labels.reshape(shape)[:, 0], support=positions[:, : sampler.n_shot], query=positions[:, sampler.n_shot :]
        )


def _is_task(drawn: Int64[np.ndarray, "image"], labels: Int64[np.ndarray, "image"], shape: tuple[int, int]) -> bool:
    """Say whether images are different ones of so many different classes that are known, class behind class."""
    if drawn.size != shape[0] * shape[1] or len(set(drawn.tolist())) != drawn.size or (labels < 0).any():
        return False
    by_class = labels.reshape(shape)
    return len(set(by_class[:, 0].tolist())) == shape[0] and bool((by_class == by_class[:, :1]).all())


class CollatedTasks:
    """Our episodes as what a loader of easyfsl yields, one ``Collated`` for each episode, in order.

    Class c of a task is the c-th of its episode, whose label in the data set is the c-th of the last part.

    Args:
        images: the data set whose labels the sampler was given.
        sampler: the episodes.
        transform: from an image to the tensor that the network sees.
        n_tasks: how many tasks there are.

    Raises:
        ValueError: ``n_tasks`` is below 1.
    """

    def __init__(
        self, images: LabeledImages, sampler: EpisodeSampler, transform: Callable[..., Any], *, n_tasks: int
    ) -> None:
        if n_tasks < 1:
            raise Mistake(f"n_tasks should be at least 1, got {n_tasks}.")
        self.images: LabeledImages = images
        self.sampler: EpisodeSampler = sampler
        self.transform: Callable[..., Any] = transform
        self.n_tasks: int = n_tasks

    def __len__(self) -> int:
        return self.n_tasks

    def __iter__(self) -> Iterator[Collated]:
        for episode in self.sampler.episodes(self.n_tasks):
            yield (*self._part(episode.support), *self._part(episode.query), episode.classes.tolist())

    def _part(self, positions: Int64[np.ndarray, "way image"]) -> tuple[Tensor, Tensor]:
        pixels = [prepare(self.images[int(image)], self.transform).pixels for image in positions.ravel()]
        return torch.stack(pixels), torch.arange(len(positions)).repeat_interleave(positions.shape[1])


def supports_by_class(
    images: Float[Tensor, "support color height width"],
    labels: Int64[Tensor, "label"],
    names: Iterable[Any] | None = None,
) -> dict[str, Float[Tensor, "shot color height width"]]:
    """Return the supports of a task by class, as ``fsl_explain.explain`` takes them, of easyfsl or of learn2learn.

    ``labels`` count the classes of the task from 0, and ``names`` are their names in that order, such as the last part
    of easyfsl's task; None: ``class 0`` and so on.

    Raises: ``ValueError`` for labels without images, or names that do not fit.
    """
    present = labels.unique().tolist()
    listed = [f"class {label}" for label in range(len(present))] if names is None else [str(name) for name in names]
    if len(images) != len(labels) or present != list(range(len(listed))) or len(set(listed)) != len(listed):
        raise Mistake(
            f"expected a label from 0 to {len(listed) - 1} for each of {len(images)} images and a name of its own for "
            f"each class, but got labels {present} of {len(labels)} images; give the supports of one task."
        )
    return {name: images[labels == label] for label, name in enumerate(listed)}
