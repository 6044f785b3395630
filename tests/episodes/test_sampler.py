import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from episodes.sampler import EpisodeSampler

LABELS = np.random.default_rng(0).permutation(np.repeat([3, 5, 7, 11, 13, 17], 12))


def same(one, other):
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("classes", "support", "query"))


@st.composite
def tasks(draw):
    n_classes, n_shot, n_query = draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    counts = draw(st.lists(st.integers(n_shot + n_query, 12), min_size=n_classes, max_size=n_classes))
    labels = np.random.default_rng(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(n_classes) * 2, counts))
    sizes = {"n_way": draw(st.integers(1, n_classes)), "n_shot": n_shot, "n_query": n_query}
    return labels, sizes | {"seed": draw(st.integers(0, 2**40))}


@given(tasks(), st.integers(0, 2**40))
def test_an_episode_keeps_its_promises(task, position):
    labels, sizes = task
    sampler = EpisodeSampler(labels, **sizes)
    episode = sampler[position]
    assert episode.support.shape == (sampler.n_way, sampler.n_shot)
    assert episode.query.shape == (sampler.n_way, sampler.n_query)
    assert len(set(episode.classes.tolist())) == sampler.n_way
    images = np.concatenate([episode.support, episode.query], axis=1)
    assert len(set(images.flatten().tolist())) == images.size
    assert np.array_equal(labels[images], np.broadcast_to(episode.classes[:, None], images.shape))
    assert {part.dtype for part in (episode.classes, episode.support, episode.query)} == {np.dtype(np.int64)}


@given(st.lists(st.integers(0, 50), max_size=5), st.integers(0, 50), st.integers(0, 9))
def test_an_episode_is_the_same_whatever_was_drawn_before(drawn_before, position, seed):
    sampler = EpisodeSampler(LABELS, n_query=3, seed=seed)
    for other in drawn_before:
        sampler[other]
    np.random.default_rng(0).random()
    assert same(sampler[position], EpisodeSampler(LABELS, n_query=3, seed=seed)[position])


def test_an_episode_is_pinned():
    """Published figures name a seed, so another version may not draw otherwise."""
    episode = EpisodeSampler(LABELS, n_way=3, n_shot=1, n_query=2, seed=7)[11]
    assert episode.classes.tolist() == [11, 17, 3]
    assert episode.support.tolist() == [[17], [47], [12]]
    assert episode.query.tolist() == [[35, 69], [24, 59], [33, 20]]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS.tolist(),
        tuple(LABELS.tolist()),
        LABELS.astype(np.uint8),
        LABELS.astype(np.float32),
        torch.from_numpy(LABELS),
        torch.from_numpy(LABELS).to(torch.int32),
    ],
    ids=["list", "tuple", "uint8", "float32", "tensor", "int32 tensor"],
)
def test_the_container_of_the_labels_does_not_matter(labels):
    assert same(EpisodeSampler(labels, n_query=3)[4], EpisodeSampler(LABELS, n_query=3)[4])


def test_other_seeds_and_numbers_are_other_episodes():
    sampler = EpisodeSampler(LABELS, n_query=3)
    assert not same(sampler[0], sampler[1])
    assert not same(sampler[0], EpisodeSampler(LABELS, n_query=3, seed=1)[0])
    assert not same(sampler[1], EpisodeSampler(LABELS, n_query=3, seed=1)[0])


def test_every_image_and_class_has_its_turn():
    drawn = [(episode.classes, episode.support) for episode in EpisodeSampler(LABELS, n_way=2, n_query=1).episodes(400)]
    assert {label for classes, _ in drawn for label in classes.tolist()} == set(LABELS.tolist())
    assert {image for _, support in drawn for image in support.flatten().tolist()} == set(range(len(LABELS)))


def test_episodes_are_the_first_ones():
    sampler = EpisodeSampler(LABELS, n_query=3)
    first = list(sampler.episodes(3))
    assert len(first) == 3
    assert all(same(episode, sampler[number]) for number, episode in enumerate(first))


def test_the_sequence_has_neither_end_nor_length():
    sampler = EpisodeSampler(LABELS, n_query=3)
    assert not hasattr(sampler, "__len__")
    with pytest.raises(IndexError, match="numbered from 0, got -1"):
        sampler[-1]
    with pytest.raises(TypeError, match=r"iterate over sampler\.episodes\(n\)"):
        iter(sampler)


def test_too_few_images_are_counted_and_named():
    labels = [0] * 20 + [7] * 2 + [9] * 3
    message = r"every class needs 16 images \(shots \+ queries\), but class {} has 2\. Lower n_shot or n_query, or drop"
    with pytest.raises(ValueError, match=message.format(7)):
        EpisodeSampler(labels, n_way=2)
    names = ["other"] * 7 + ["albatross"] + ["other"] * 2
    with pytest.raises(ValueError, match=message.format("albatross")):
        EpisodeSampler(labels, n_way=2, class_names=names)


def test_exactly_enough_images_are_enough():
    assert EpisodeSampler([0] * 16 + [1] * 16, n_way=2)[0].query.shape == (2, 15)


def test_too_few_classes():
    with pytest.raises(ValueError, match=r"an episode needs 5 classes, but there are 2\. Lower n_way"):
        EpisodeSampler([0] * 20 + [1] * 20)
    with pytest.raises(ValueError, match="there are 0"):
        EpisodeSampler([])


@pytest.mark.parametrize("option", ["n_way", "n_shot", "n_query"])
def test_sizes_below_one(option):
    with pytest.raises(ValueError, match=f"{option} should be at least 1, got 0"):
        EpisodeSampler(LABELS, **{option: 0})


def test_a_negative_seed():
    with pytest.raises(ValueError, match="seed should be at least 0, got -1"):
        EpisodeSampler(LABELS, seed=-1)


@pytest.mark.parametrize("labels", [np.zeros((4, 2)), np.array([0.5, 1]), np.array([np.nan, 1]), np.array(["a", "b"])])
def test_labels_that_are_no_labels(labels):
    with pytest.raises(ValueError, match="labels should be one whole number per image"):
        EpisodeSampler(labels)
