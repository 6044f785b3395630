"""The bridge against the real learn2learn, where it is installed."""

import importlib
import importlib.util
import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.labeled_image import LabeledImage
from episodes.learn2learn import EpisodeTasks, Taskset, frozen_episodes, meta_dataset
from episodes.sampler import EpisodeSampler
from episodes.transforms import direct_resize

pytestmark = pytest.mark.oracles

CLASSES, PER_CLASS = 7, 9
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(CLASSES), PER_CLASS)).astype(np.int64)
TRANSFORM = direct_resize(4, mean=(0.0,) * 3, std=(1.0,) * 3)


class Shades:
    """Image i is plain red of level i; ``read`` counts the images that were asked for."""

    name, labels, paths = "shades", LABELS, (None,) * len(LABELS)
    classes = tuple(f"class {label}" for label in range(CLASSES))

    def __init__(self):
        self.read = 0

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, position, /):
        self.read += 1
        label = int(LABELS[position])
        return LabeledImage(Image.new("RGB", (6, 6), (position, 0, 0)), label, self.classes[label])


@pytest.fixture(scope="module")
def l2l():
    if importlib.util.find_spec("learn2learn") is None:
        pytest.skip("learn2learn is not installed; it wants an environment of its own, without its numpy < 2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("learn2learn")


@pytest.fixture
def images():
    return Shades()


def taskset(l2l, images, num_tasks=20, way=3, per_class=4):
    data = meta_dataset(images, TRANSFORM)
    transforms = l2l.data.transforms
    steps = [
        transforms.NWays(data, n=way),
        transforms.KShots(data, k=per_class),
        transforms.LoadData(data),
        transforms.RemapLabels(data),
    ]
    return l2l.data.Taskset(data, steps, num_tasks=num_tasks)


def shades(data):
    return (data[:, 0, 0, 0] * 255).round().long().tolist()


def test_a_meta_dataset_is_built_without_reading_an_image(l2l, images):
    data = meta_dataset(images, TRANSFORM)
    assert images.read == 0
    assert isinstance(data, l2l.data.MetaDataset)
    slow = l2l.data.MetaDataset(data.dataset)
    assert images.read > 0
    assert data.indices_to_labels == dict(slow.indices_to_labels)
    assert data.labels_to_indices == dict(slow.labels_to_indices)
    assert sorted(data.labels) == sorted(slow.labels)
    pixels, label = data[3]
    assert (pixels.shape, label) == ((3, 4, 4), LABELS[3])


def test_our_meta_dataset_serves_its_transforms_and_unions(l2l, images):
    data = meta_dataset(images, TRANSFORM)
    transforms = l2l.data.transforms
    steps = [transforms.FusedNWaysKShots(data, n=2, k=3), transforms.LoadData(data), transforms.ConsecutiveLabels(data)]
    pixels, labels = l2l.data.Taskset(data, steps, num_tasks=1)[0]
    assert (LABELS[shades(pixels)] == labels.numpy()).all()
    assert len(l2l.data.UnionMetaDataset([data, data]).labels) == 2 * CLASSES


def test_its_tasks_become_our_episodes(l2l, images):
    tasks = taskset(l2l, images)
    assert isinstance(tasks, Taskset)
    random.seed(1)
    episodes = frozen_episodes(tasks, n_shot=1)
    assert images.read == 0
    assert len(episodes) == 20
    for number, episode in enumerate(episodes):
        data, labels = tasks[number]
        (support, support_labels), (query, _) = l2l.data.partition_task(data, labels, shots=1)
        assert (LABELS[episode.support] == episode.classes[:, None]).all()
        assert (LABELS[episode.query] == episode.classes[:, None]).all()
        # learn2learn shuffles the numbers of the classes; the images of each class are the same.
        ours = {
            int(support_row[0]): sorted(query_row.tolist())
            for support_row, query_row in zip(episode.support, episode.query, strict=True)
        }
        theirs = {
            shade: sorted(shades(query)[3 * way : 3 * way + 3])
            for way, shade in zip(support_labels.tolist(), shades(support), strict=True)
        }
        assert ours == theirs


def test_freezing_draws_what_indexing_in_order_would_draw(l2l, images):
    """Indexing keeps the next description under its number, then reads; reading may use the random state itself."""
    frozen, indexed = taskset(l2l, images), taskset(l2l, images)
    random.seed(2)
    episodes = frozen_episodes(frozen, n_shot=2)
    random.seed(2)
    for number in range(20):
        indexed.sampled_descriptions[number] = indexed.sample_task_description()
    for number, episode in enumerate(episodes):
        drawn = [*episode.support.ravel().tolist(), *episode.query.ravel().tolist()]
        assert sorted(drawn) == sorted(shades(indexed[number][0]))


def test_a_task_that_was_drawn_stays(l2l, images):
    tasks = taskset(l2l, images, num_tasks=4)
    data, _ = tasks[2]
    episode = frozen_episodes(tasks, n_shot=1)[2]
    assert sorted(shades(data)) == sorted([*episode.support.ravel().tolist(), *episode.query.ravel().tolist()])


def test_tasks_without_end_and_with_replacement_are_refused(l2l, images):
    with pytest.raises(ValueError, match="it draws without end; give it num_tasks"):
        frozen_episodes(taskset(l2l, images, num_tasks=-1), n_shot=1)
    data = meta_dataset(images, TRANSFORM)
    steps = [l2l.data.transforms.FusedNWaysKShots(data, n=2, k=40, replacement=True)]
    with pytest.raises(ValueError, match="has an image twice"):
        frozen_episodes(l2l.data.Taskset(data, steps, num_tasks=1), n_shot=1)


def test_our_tasks_are_partitioned_into_our_episodes(l2l, images):
    sampler = EpisodeSampler(LABELS, n_way=4, n_shot=2, n_query=3, seed=0)
    for number, (data, labels) in enumerate(EpisodeTasks(images, sampler, TRANSFORM, num_tasks=5)):
        (support, support_labels), (query, query_labels) = l2l.data.partition_task(data, labels, shots=2)
        assert shades(support) == sampler[number].support.ravel().tolist()
        assert shades(query) == sampler[number].query.ravel().tolist()
        assert torch.equal(sampler_labels(sampler[number], 2), support_labels)
        assert torch.equal(sampler_labels(sampler[number], 3), query_labels)


def sampler_labels(episode, per_class):
    return torch.arange(len(episode.classes)).repeat_interleave(per_class)


def test_maml_learns_from_our_tasks(l2l, images):
    """One step of adaptation on the supports of a task, as in learn2learn's examples."""
    tasks = EpisodeTasks(images, EpisodeSampler(LABELS, n_way=3, n_shot=1, n_query=2), TRANSFORM, num_tasks=2)
    learner = l2l.algorithms.MAML(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)), lr=0.1).clone()
    (support, support_labels), (query, query_labels) = l2l.data.partition_task(*tasks.sample(), shots=1)
    before = torch.nn.functional.cross_entropy(learner(support), support_labels)
    learner.adapt(before)
    assert torch.nn.functional.cross_entropy(learner(support), support_labels) < before
    torch.nn.functional.cross_entropy(learner(query), query_labels).backward()
