"""Seeded few-shot tasks."""

import operator
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64
from torch import Tensor

from episodes.episode import Episode
from episodes.errors import Mistake


class EpisodeSampler:
    """An endless sequence of few-shot tasks; episode i depends on (labels, sizes, seed, i) alone.

    It has no length: ask for ``sampler[i]`` with any i ≥ 0, or for ``sampler.episodes(n)``.

    Args:
        labels: the class of each image, whole numbers in any container.
        n_way: classes in an episode.
        n_shot: support images per class.
        n_query: query images per class.
        seed: which sequence, ≥ 0.
        class_names: names for the errors, by label.

    Raises:
        ValueError: a size is below 1, the seed is negative, the labels are not a list of whole
            numbers, or there are too few classes or too few images in one of them.
    """

    def __init__(
        self,
        labels: Sequence[int] | np.ndarray | Tensor,
        *,
        n_way: int = 5,
        n_shot: int = 1,
        n_query: int = 15,
        seed: int = 0,
        class_names: Sequence[str] | None = None,
    ) -> None:
        for option, size in {"n_way": n_way, "n_shot": n_shot, "n_query": n_query}.items():
            if size < 1:
                raise Mistake(f"{option} should be at least 1, got {size}.")
        if seed < 0:
            raise Mistake(f"seed should be at least 0, got {seed}.")
        self.n_way: int = n_way
        self.n_shot: int = n_shot
        self.n_query: int = n_query
        self.seed: int = seed
        checked = _whole_numbers(labels)
        self.indices_of: dict[int, Int64[np.ndarray, "image"]] = {
            int(label): np.flatnonzero(checked == label) for label in np.unique(checked)
        }
        self._check_sizes(class_names)

    def __getitem__(self, position: int) -> Episode:
        """Draw an episode. Raises: ``IndexError`` below 0."""
        number = operator.index(position)
        if number < 0:
            raise IndexError(f"episodes are numbered from 0, got {number}; the sequence has no end to count from.")
        rng = np.random.default_rng((self.seed, number))
        classes = rng.choice(sorted(self.indices_of), size=self.n_way, replace=False)
        per_class = self.n_shot + self.n_query
        drawn = np.stack([rng.choice(self.indices_of[int(label)], size=per_class, replace=False) for label in classes])
        return Episode(classes, support=drawn[:, : self.n_shot], query=drawn[:, self.n_shot :])

    def episodes(self, count: int) -> Iterator[Episode]:
        """Return the first ``count`` episodes, one by one."""
        return (self[number] for number in range(count))

    def __iter__(self) -> Iterator[Episode]:
        raise TypeError("the sequence of episodes has no end; iterate over sampler.episodes(n).")

    def _check_sizes(self, class_names: Sequence[str] | None) -> None:
        if len(self.indices_of) < self.n_way:
            raise Mistake(
                f"an episode needs {self.n_way} classes, but there are {len(self.indices_of)}. "
                "Lower n_way or use more classes."
            )
        per_class = self.n_shot + self.n_query
        smallest = min(self.indices_of, key=lambda label: len(self.indices_of[label]))
        images = len(self.indices_of[smallest])
        if images < per_class:
            name = smallest if class_names is None else class_names[smallest]
            raise Mistake(
                f"every class needs {per_class} images (shots + queries), but class {name} has {images}. "
                "Lower n_shot or n_query, or drop the class from the split."
            )


def _whole_numbers(labels: Sequence[int] | np.ndarray | Tensor) -> Int64[np.ndarray, "image"]:
    values = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if values.ndim != 1 or values.dtype.kind not in "iufb" or not np.array_equal(values, np.floor(values)):
        raise Mistake(
            f"labels should be one whole number per image, got shape {values.shape} of {values.dtype}; "
            "give the class index of each image."
        )
    return values.astype(np.int64)
