"""Few-shot tasks shared with learn2learn (Arnold et al., 2020), in both directions.

learn2learn itself is imported only by ``meta_dataset``.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from episodes.episode import Episode
from episodes.errors import MissingPackage, Mistake
from episodes.labeled_image import LabeledImages
from episodes.sampler import EpisodeSampler
from episodes.transforms import prepare

Task = tuple[Float[Tensor, "image color height width"], Int64[Tensor, "image"]]


@runtime_checkable
class Taskset(Protocol):
    """What is read of a learn2learn ``Taskset``."""

    dataset: Any
    num_tasks: int
    sampled_descriptions: dict[int, Any]

    def sample_task_description(self) -> Sequence[Any]:
        """Draw the images of a task; each has an ``index`` into the data set."""


class EpisodeTasks:
    """Our episodes as learn2learn's tasks: ``tasks[i]`` is the pair (data, labels) of episode i.

    The labels count the classes of the episode from 0. The images stand class by class, in each the
    supports before the queries, so that ``learn2learn.data.partition_task(data, labels, n_shot)``
    gives the supports and queries of the episode.

    Args:
        images: the data set whose labels the sampler was given.
        sampler: the episodes.
        transform: from an image to the tensor that the network sees.
        num_tasks: how many tasks there are; None: no end, and then no length.

    Raises:
        ValueError: ``num_tasks`` is below 1.
    """

    def __init__(
        self,
        images: LabeledImages,
        sampler: EpisodeSampler,
        transform: Callable[..., Any],
        *,
        num_tasks: int | None = None,
    ) -> None:
        if num_tasks is not None and num_tasks < 1:
            raise Mistake(f"num_tasks should be at least 1, got {num_tasks}; leave it out for tasks without end.")
        self.images: LabeledImages = images
        self.sampler: EpisodeSampler = sampler
        self.transform: Callable[..., Any] = transform
        self.num_tasks: int | None = num_tasks
        self._drawn = 0

    def __len__(self) -> int:
        if self.num_tasks is None:
            raise TypeError("the tasks have no end; give num_tasks for a set with a length.")
        return self.num_tasks

    def __getitem__(self, position: int) -> Task:
        """Draw a task: its images, and their labels from 0 to ``n_way`` - 1.

        Raises: ``IndexError`` for a position from ``num_tasks`` on.
        """
        if self.num_tasks is not None and position >= self.num_tasks:
            raise IndexError(f"there are {self.num_tasks} tasks, numbered from 0, but got {position}.")
        episode = self.sampler[position]
        positions = np.concatenate([episode.support, episode.query], axis=1)
        pixels = [prepare(self.images[int(image)], self.transform).pixels for image in positions.ravel()]
        labels = torch.arange(len(positions)).repeat_interleave(positions.shape[1])
        return torch.stack(pixels), labels

    def __iter__(self) -> Iterator[Task]:
        position = 0
        while self.num_tasks is None or position < self.num_tasks:
            yield self[position]
            position += 1

    def sample(self) -> Task:
        """Return the next task, from the first again after the last.

        Which tasks there are is a matter of the sampler's seed: no random state is read or changed here.
        """
        position = self._drawn if self.num_tasks is None else self._drawn % self.num_tasks
        self._drawn += 1
        return self[position]


def frozen_episodes(taskset: Taskset, n_shot: int) -> tuple[Episode, ...]:
    """Return the tasks of a learn2learn ``Taskset`` as episodes, in the order of their numbers.

    A task that was drawn before stays as it is; the others are drawn now, one after the other, with
    Python's global random state as learn2learn does, and the set keeps them: the episodes are
    what ``taskset[i]`` gives from now on. No image is read. The indices are those of
    ``taskset.dataset``, and the first ``n_shot`` images of a class are its supports, as in ``partition_task``.

    Raises:
        ValueError: the set has no fixed number of tasks, or a task has an image twice, classes of
            unequal size, or no query beside ``n_shot`` supports.
    """
    if taskset.num_tasks < 1:
        raise Mistake("expected a Taskset with a number of tasks, but it draws without end; give it num_tasks.")
    for number in range(taskset.num_tasks):
        if number not in taskset.sampled_descriptions:
            taskset.sampled_descriptions[number] = taskset.sample_task_description()
    drawn = [taskset.sampled_descriptions[number] for number in range(taskset.num_tasks)]
    indices = [[int(description.index) for description in task] for task in drawn]
    label_of = taskset.dataset.indices_to_labels
    return tuple(_episode(task, label_of, n_shot, number) for number, task in enumerate(indices))


def meta_dataset(images: LabeledImages, transform: Callable[..., Any]) -> Any:
    """Return a learn2learn ``MetaDataset`` of (pixels, label) without reading an image.

    learn2learn would read every image to learn its label; here both of its tables are filled from
    ``images.labels``, classes in the order of their labels. ``transform`` makes pixels of an image.

    Raises:
        ImportError: learn2learn is not installed.
    """
    try:
        data = importlib.import_module("learn2learn.data")
    except ImportError as error:
        raise MissingPackage(
            f"learn2learn cannot be imported ({error}); install it with pip install --no-deps learn2learn "
            "--config-settings=--build-option=build_ext, and gym and requests beside it."
        ) from error
    labels = [int(label) for label in images.labels]
    indices_of = {int(label): np.flatnonzero(images.labels == label).tolist() for label in np.unique(images.labels)}
    return data.MetaDataset(_LabeledPixels(images, transform), indices_of, dict(enumerate(labels)))


class _LabeledPixels(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: LabeledImages, transform: Callable[..., Any]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        labeled = self.images[int(position)]
        return prepare(labeled, self.transform).pixels, labeled.label


def _episode(indices: Sequence[int], label_of: Mapping[int, Any], n_shot: int, number: int) -> Episode:
    of_class: dict[int, list[int]] = {}
    for index in indices:
        of_class.setdefault(int(label_of[index]), []).append(index)
    sizes = sorted({len(images) for images in of_class.values()})
    if len(set(indices)) != len(indices):
        raise Mistake(f"task {number} has an image twice; expected images drawn without replacement.")
    if len(sizes) != 1 or not 0 < n_shot < sizes[0]:
        raise Mistake(
            f"task {number} has classes of {' and '.join(map(str, sizes)) or 'no'} images; expected equally many in "
            f"each, more than the {n_shot} supports. Draw shots + queries with KShots."
        )
    drawn = np.array(list(of_class.values()), dtype=np.int64)
    return Episode(np.array(list(of_class), dtype=np.int64), support=drawn[:, :n_shot], query=drawn[:, n_shot:])
