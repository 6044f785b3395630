"""The bridge without learn2learn: our episodes as tasks, and a stand-in for its Taskset."""

import random
import sys
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.labeled_image import LabeledImage
from episodes.learn2learn import EpisodeTasks, frozen_episodes, meta_dataset
from episodes.sampler import EpisodeSampler
from episodes.transforms import direct_resize

LABELS = np.array([0, 1, 2] * 4, dtype=np.int64)
TRANSFORM = direct_resize(4, mean=(0.0,) * 3, std=(1.0,) * 3)


class Shades:
    """Image i is plain red of level i."""

    name, classes, labels, paths = "shades", ("ani", "auk", "tern"), LABELS, (None,) * 12

    def __len__(self):
        return 12

    def __getitem__(self, position, /):
        return LabeledImage(Image.new("RGB", (6, 6), (position, 0, 0)), int(LABELS[position]), "x")


def positions(data):
    """Which images a batch holds, by their shade."""
    return (data[:, 0, 0, 0] * 255).round().long().tolist()


@pytest.fixture
def sampler():
    return EpisodeSampler(LABELS, n_way=2, n_shot=1, n_query=2, seed=3)


def test_a_task_is_its_episode_class_by_class(sampler):
    data, labels = EpisodeTasks(Shades(), sampler, TRANSFORM)[5]
    episode = sampler[5]
    assert data.shape == (6, 3, 4, 4)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert labels.dtype == torch.int64
    expected = [[*support, *query] for support, query in zip(episode.support, episode.query, strict=True)]
    assert positions(data) == [int(image) for images in expected for image in images]


def test_a_set_with_a_length_ends(sampler):
    tasks = EpisodeTasks(Shades(), sampler, TRANSFORM, num_tasks=3)
    assert len(tasks) == 3
    assert [positions(data) for data, _ in tasks] == [positions(tasks[number][0]) for number in range(3)]
    with pytest.raises(IndexError, match="there are 3 tasks, numbered from 0, but got 3"):
        tasks[3]
    with pytest.raises(IndexError, match="episodes are numbered from 0, got -1"):
        tasks[-1]


def test_a_set_without_end_has_no_length(sampler):
    tasks = EpisodeTasks(Shades(), sampler, TRANSFORM)
    with pytest.raises(TypeError, match="the tasks have no end; give num_tasks"):
        len(tasks)
    assert [positions(data) for data, _ in islice(tasks, 2)] == [positions(tasks[number][0]) for number in range(2)]
    with pytest.raises(ValueError, match="num_tasks should be at least 1, got 0"):
        EpisodeTasks(Shades(), sampler, TRANSFORM, num_tasks=0)


def test_sampling_goes_round_and_leaves_the_random_state_alone(sampler):
    state, torch_state = random.getstate(), torch.get_rng_state()
    tasks = EpisodeTasks(Shades(), sampler, TRANSFORM, num_tasks=2)
    drawn = [positions(tasks.sample()[0]) for _ in range(3)]
    assert drawn == [positions(tasks[number][0]) for number in (0, 1, 0)]
    assert (random.getstate(), torch.get_rng_state().tolist()) == (state, torch_state.tolist())


@dataclass
class Described:
    index: int


@dataclass
class Tasks:
    """A stand-in for a Taskset whose next descriptions are known."""

    coming: list
    num_tasks: int
    sampled_descriptions: dict = field(default_factory=dict)
    dataset: object = field(default_factory=lambda: type("Labeled", (), {"indices_to_labels": dict(enumerate(LABELS))}))

    def sample_task_description(self):
        return [Described(index) for index in self.coming.pop(0)]


def test_tasks_are_frozen_in_the_order_of_their_numbers():
    kept = [Described(index) for index in (2, 5, 8, 1, 4, 7)]
    tasks = Tasks([[0, 3, 6, 2, 5, 8], [1, 4, 10, 0, 9, 3]], num_tasks=3, sampled_descriptions={1: kept})
    first, second, third = frozen_episodes(tasks, n_shot=1)
    assert (first.classes.tolist(), first.support.tolist()) == ([0, 2], [[0], [2]])
    assert first.query.tolist() == [[3, 6], [5, 8]]
    assert (second.classes.tolist(), second.support.tolist()) == ([2, 1], [[2], [1]])
    assert third.query.tolist() == [[4, 10], [9, 3]]
    assert sorted(tasks.sampled_descriptions) == [0, 1, 2]
    assert tasks.coming == []


def test_images_of_a_class_may_stand_apart():
    (episode,) = frozen_episodes(Tasks([[1, 0, 4, 3, 6, 7]], num_tasks=1), n_shot=2)
    assert (episode.classes.tolist(), episode.support.tolist()) == ([1, 0], [[1, 4], [0, 3]])
    assert episode.query.tolist() == [[7], [6]]


@pytest.mark.parametrize(
    ("indices", "n_shot", "fault"),
    [
        ([0, 3, 3, 1, 4, 7], 1, "task 0 has an image twice"),
        ([0, 3, 1], 1, "task 0 has classes of 1 and 2 images; expected equally many in each"),
        ([0, 3, 1, 4], 2, "task 0 has classes of 2 images; .* more than the 2 supports"),
        ([0, 3, 1, 4], 0, "task 0 has classes of 2 images"),
        ([], 1, "task 0 has classes of no images"),
    ],
)
def test_tasks_that_are_no_episodes(indices, n_shot, fault):
    with pytest.raises(ValueError, match=fault):
        frozen_episodes(Tasks([indices], num_tasks=1), n_shot)


def test_a_set_that_draws_without_end():
    with pytest.raises(ValueError, match="expected a Taskset with a number of tasks, but it draws without end"):
        frozen_episodes(Tasks([], num_tasks=-1), n_shot=1)


def test_a_meta_dataset_without_learn2learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    monkeypatch.setitem(sys.modules, "learn2learn.data", None)
    with pytest.raises(ImportError, match=r"learn2learn cannot be imported .* install it with pip install --no-deps"):
        meta_dataset(Shades(), TRANSFORM)
