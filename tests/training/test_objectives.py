"""What every objective promises: pure draws, the same units for every step, and errors that say what to do."""

from collections import Counter

import numpy as np
import pytest
import torch
from tiny_training import OBJECTIVES, SIZE, NoiseImages, settings, tiny_encoder, with_head

from fsl_explain import Encoder
from fsl_explain.training import batches_in_an_epoch, objective_of, train
from fsl_explain.training.objective import Embedder, Objective, embedding_width, shuffled_images


def made(name, dataset=None, encoder=None, seed=0):
    return objective_of(encoder or tiny_encoder(), dataset or NoiseImages(), settings(name, seed=seed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_draws_depend_on_seed_and_step_alone(name):
    objective, again, other = made(name), made(name), made(name, seed=1)
    assert isinstance(objective, Objective)
    later = [objective.draw(step) for step in (5, 3, 4)]
    state = torch.get_rng_state()
    for step, drawn in zip((5, 3, 4), later, strict=True):
        np.testing.assert_array_equal(again.draw(step), drawn)
    assert any((other.draw(step) != objective.draw(step)).any() for step in range(3))
    assert any((objective.draw(step) != objective.draw(0)).any() for step in range(1, 4))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_episode_has_its_supports_before_its_queries_class_after_class():
    dataset, objective = NoiseImages(), made("episodic")
    for step in range(3):
        for unit in objective.draw(step):
            assert len(set(unit.tolist())) == 6
            supports, queries = dataset.labels[unit[:2]], dataset.labels[unit[2:]]
            assert len(set(supports.tolist())) == 2
            assert queries.tolist() == np.repeat(supports, 2).tolist()
    assert not set(map(tuple, objective.draw(0))) & set(map(tuple, objective.draw(1)))


@pytest.mark.parametrize("name", ["multi-similarity", "margin"])
def test_a_unit_is_images_of_one_class(name):
    dataset, objective = NoiseImages(), made(name)
    for step in range(3):
        labels = dataset.labels[objective.draw(step)]
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0].tolist())) == 4
        assert all(len(set(unit.tolist())) == 3 for unit in objective.draw(step))


def test_a_small_class_repeats_its_images():
    drawn = made("margin", NoiseImages(per_class=2)).draw(0)
    assert drawn.shape == (4, 3)
    assert all(len(set(unit.tolist())) <= 2 for unit in drawn)


@pytest.mark.parametrize("name", ["NPID", "MoCo"])
def test_every_image_comes_once_an_epoch_and_a_short_rest_is_dropped(name):
    objective, epochs = made(name), []
    for epoch in range(3):
        seen = Counter(int(i) for batch in range(3) for i in objective.draw(3 * epoch + batch).ravel())
        assert set(seen.values()) == {1}
        assert len(seen) == 18
        epochs.append(tuple(seen))
    assert len(set(epochs)) == 3
    assert set().union(*epochs) == set(range(20))


def test_all_images_come_where_the_batch_divides_them():
    seen = [int(i) for step in range(4) for i in shuffled_images(20, 5, 0, step).ravel()]
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize(
    ("name", "expected"), [("episodic", 200 // 12), ("margin", 200 // 12), ("NPID", 200 // 6), ("MoCo", 200 // 6)]
)
def test_an_epoch_is_as_many_batches_as_the_images_make(name, expected):
    config = settings(name, optimizer={"batches_per_epoch": None})
    assert batches_in_an_epoch(config, 200) == expected
    assert batches_in_an_epoch(config, 1) == 1
    assert batches_in_an_epoch(settings(name, optimizer={"batches_per_epoch": 7}), 200) == 7


def test_the_width_of_the_embedding_leaves_the_mode_alone():
    embedder = Embedder(with_head()).train()
    before = embedder.network.state_dict()["blocks.block1.norm.running_mean"].clone()
    assert embedding_width(embedder, SIZE) == 3
    assert embedding_width(Embedder(tiny_encoder()), SIZE) == 4
    assert embedder.training
    assert embedder.network.training
    assert torch.equal(embedder.network.state_dict()["blocks.block1.norm.running_mean"], before)


LARGE = {"kind": "instance-discrimination", "batch_size": 21}
ODD = {"kind": "momentum-contrast", "batch_size": 6, "queue": 13}
MANY = {"kind": "margin", "classes_per_batch": 5, "images_per_class": 2}


@pytest.mark.parametrize(
    ("objective", "sentence"),
    [
        (LARGE, r"^a batch needs 21 images, but there are 20; lower objective\.batch_size\.$"),
        ({**LARGE, "kind": "momentum-contrast", "queue": 42}, r"a batch needs 21 images, but there are 20"),
        (ODD, r"^expected a queue that is a multiple of the batch of 6, but got 13; change objective\.queue\.$"),
        (MANY, r"^a batch needs 5 classes, but noise has 4; lower objective\.classes_per_batch\.$"),
        ({**MANY, "kind": "multi-similarity"}, r"a batch needs 5 classes, but noise has 4"),
        ({"kind": "episodic"}, r"an episode needs 5 classes, but there are 4"),
        ({"kind": "episodic", "n_way": 4}, r"every class needs 7 images .* but class ant has 5"),
    ],
)
def test_data_that_is_too_small_is_refused_before_anything_is_trained(objective, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(objective)
    with pytest.raises(ValueError, match=sentence):
        train(tiny_encoder(), NoiseImages(), settings(objective))


def test_a_network_that_is_read_at_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"training needs a network that returns its activation maps and a known"):
        made("margin", encoder=Encoder.named("torchvision:resnet18", size=32))
    hidden = Encoder(tiny_encoder().network, preprocess=lambda image: torch.zeros(3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"a known preprocessing, such as conv4net; choose one"):
        made("margin", encoder=hidden)
