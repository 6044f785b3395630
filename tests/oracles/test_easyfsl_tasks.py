"""The bridge against the real easyfsl: its sampler and collate function, and our episodes in its methods."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoder import IMAGE, random_head, tiny_encoder
from torch.utils.data import DataLoader, Dataset, Sampler

from episodes import CollatedTasks, EpisodeSampler, drawn_episodes, supports_by_class
from episodes.labeled_image import LabeledImage
from episodes.transforms import direct_resize
from fsl_explain import explain

methods, samplers = pytest.importorskip("easyfsl.methods"), pytest.importorskip("easyfsl.samplers")
pytestmark = pytest.mark.oracles
TRANSFORM = direct_resize(4, mean=(0.0,) * 3, std=(1.0,) * 3)
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(7), 9)).astype(np.int64)


class Numbered(Dataset):
    """Image i holds random pixels, and i itself in its first one."""

    def __getitem__(self, position):
        image = torch.randn(3, *IMAGE, generator=torch.Generator().manual_seed(position), dtype=torch.float64)
        image[0, 0, 0] = position
        return image, int(LABELS[position])

    def __len__(self):
        return len(LABELS)

    def get_labels(self):
        return LABELS.tolist()


class Shades:
    """Image i is plain red of level i; ``read`` counts the images that were asked for."""

    name, labels, paths = "shades", LABELS, (None,) * len(LABELS)
    classes = tuple(f"class {label}" for label in range(7))

    def __init__(self):
        self.read = 0

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, position, /):
        self.read += 1
        label = int(LABELS[position])
        return LabeledImage(Image.new("RGB", (6, 6), (position, 0, 0)), label, self.classes[label])


@pytest.fixture
def shades():
    return Shades()


@pytest.fixture
def sampler(monkeypatch):
    """easyfsl 1.5 hands torch's Sampler an argument that torch no longer takes."""
    monkeypatch.setattr(Sampler, "__init__", lambda self, data_source=None: None)
    return samplers.TaskSampler(Numbered(), n_way=3, n_shot=2, n_query=4, n_tasks=5)


def test_its_tasks_are_episodes(sampler):
    random.seed(3)
    expected = list(sampler)
    random.seed(3)
    found = list(drawn_episodes(sampler))
    assert len(found) == 5
    for episode, task in zip(found, expected, strict=True):
        assert np.concatenate([episode.support, episode.query], axis=1).ravel().tolist() == task
        assert (episode.support.shape, episode.query.shape) == ((3, 2), (3, 4))
        for rows in (episode.support, episode.query):
            assert (LABELS[rows] == episode.classes[:, None]).all()


def test_a_collated_task_is_explained(sampler):
    loader = DataLoader(Numbered(), batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    support, labels, queries, truth, ids = next(iter(loader))
    supports = supports_by_class(support, labels, ids)
    assert list(supports) == [str(label) for label in ids]
    for name, images in supports.items():
        assert (LABELS[images[:, 0, 0, 0].long().numpy()] == int(name)).all()
    encoder = tiny_encoder(random_head("linear"))
    found = explain(encoder, queries, supports, method="contrast", rule="prototype")
    method = methods.SimpleShot()
    method.process_support_set(encoder(support).embedding, labels)
    assert found.decision.label.tolist() == method(encoder(queries).embedding).argmax(dim=-1).tolist()
    assert truth.shape == found.decision.label.shape


def test_our_episodes_are_its_tasks(shades):
    sampler = EpisodeSampler(shades.labels, n_way=3, n_shot=2, n_query=4, seed=1)
    tasks = CollatedTasks(shades, sampler, TRANSFORM, n_tasks=3)
    assert len(tasks) == len(list(tasks)) == 3
    for number, (support, labels, queries, truth, ids) in enumerate(tasks):
        episode = sampler[number]
        assert ids == episode.classes.tolist()
        for images, rows in ((support, episode.support), (queries, episode.query)):
            assert (images[:, 0, 0, 0] * 255).round().long().tolist() == rows.ravel().tolist()
        assert (LABELS[episode.support.ravel()] == np.array(ids)[labels]).all()
        assert (LABELS[episode.query.ravel()] == np.array(ids)[truth]).all()
        method = methods.PrototypicalNetworks(backbone=torch.nn.Flatten())
        method.process_support_set(support, labels)
        assert method(queries).shape == (12, 3)
        assert supports_by_class(support, labels)["class 1"].shape[0] == 2


class OneTask:
    n_way, n_shot, n_query, items_per_label = 2, 1, 1, {0: [0, 1, 4, 5], 1: [2, 3]}

    def __init__(self, *task):
        self.task = task

    def __iter__(self):
        yield list(self.task)


def test_what_is_no_task_is_refused(shades):
    assert next(drawn_episodes(OneTask(3, 2, 0, 1))).classes.tolist() == [1, 0]
    of_one_class, of_no_class = (0, 1, 4, 5), (0, 1, 8, 9)
    for task in ((0, 2, 1, 3), (0, 0, 2, 3), (0, 1, 2), of_one_class, of_no_class):
        with pytest.raises(ValueError, match="expected task 0 to be 2 classes of 2 different images"):
            next(drawn_episodes(OneTask(*task)))
    with pytest.raises(ValueError, match="n_tasks should be at least 1"):
        CollatedTasks(
            shades, EpisodeSampler(LABELS, n_query=2), direct_resize(4, mean=(0.0,) * 3, std=(1.0,) * 3), n_tasks=0
        )
    images, labels = torch.zeros(4, 3, 2, 2), torch.tensor([0, 0, 1, 1])
    for wrong, names in ((labels[:3], None), (labels + 1, None), (labels, ["a"]), (labels, ["a", "a"])):
        with pytest.raises(ValueError, match="give the supports of one task"):
            supports_by_class(images, wrong, names)
