"""Embeddings centered on the mean of a set: what changes, what adds up, and what is refused."""

import numpy as np
import pytest
import torch
from tiny_encoder import CHANNELS, HEADS, images, random_head, tiny_encoder
from torch import nn
from torchvision.utils import save_image

from episodes import read_image
from fsl_explain import Encoder, centered, explain
from fsl_explain.centering import centered_words
from retrieval_explain import MemoryBank, centered_on

SUPPORTS = images(3, 2, seed=1)
QUERY = images(seed=2)


def set_of(encoder, seed=5):
    return encoder(images(7, seed=seed)).embedding


@pytest.mark.parametrize("name", HEADS)
def test_embeddings_are_those_of_the_encoder_minus_the_mean(name):
    encoder = tiny_encoder(random_head(name))
    embeddings, before = set_of(encoder), encoder(QUERY[None])
    found = centered(encoder, embeddings)(QUERY[None])
    mean = np.array([sum(row[channel] for row in embeddings.tolist()) / 7 for channel in range(embeddings.shape[1])])
    np.testing.assert_allclose(found.embedding[0], before.embedding[0].numpy() - mean, rtol=1e-12, atol=1e-12)
    assert torch.equal(found.maps, before.maps)
    assert torch.equal(encoder(QUERY[None]).embedding, before.embedding)


def test_the_network_is_shared_and_what_is_known_of_it_is_kept():
    encoder = tiny_encoder()
    encoder.random = ("network",)
    found = centered(encoder, set_of(encoder), of="seven images")
    assert found.network is encoder.network
    assert found.random == ("network",)
    assert found.description == f"{encoder.description}, centered on the mean of seven images"
    assert "mean of seven images: scores and decisions are not" in centered_words(found.centered_on)
    assert centered_words(encoder.centered_on) == ""


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_explanations_still_add_up(name, method):
    encoder = tiny_encoder(random_head(name))
    explanation = explain(centered(encoder, set_of(encoder)), QUERY, SUPPORTS, method=method)
    assert explanation.residual <= 1e-10 * explanation.absolute_sum


def test_fam_is_that_of_a_linear_layer_with_the_mean_as_its_bias():
    encoder = tiny_encoder()
    embeddings = set_of(encoder)
    layer = nn.Linear(CHANNELS, CHANNELS).double()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(CHANNELS))
        layer.bias.copy_(-embeddings.mean(dim=0))
    mine = explain(centered(encoder, embeddings), QUERY, SUPPORTS, method="fam")
    other = explain(tiny_encoder(layer), QUERY, SUPPORTS, method="fam")
    torch.testing.assert_close(mine.cells, other.cells)
    torch.testing.assert_close(mine.decision.scores, other.decision.scores)


def test_a_distance_knows_no_center():
    encoder = tiny_encoder()
    one, other = (
        explain(each, QUERY, SUPPORTS, similarity="euclidean").decision.scores
        for each in (encoder, centered(encoder, set_of(encoder)))
    )
    torch.testing.assert_close(one, other)


def test_what_all_images_share_leaves_the_maps():
    """A channel that fires everywhere makes two references alike; centered, the map of each is its own."""
    network = nn.Conv2d(3, 3, kernel_size=1, bias=True)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[..., None, None])
        network.weight[2] = 0
        network.bias.copy_(torch.tensor([0, 0, 5.0]))
    encoder = Encoder(network)
    red, green = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None].expand(2, 3, 4, 4)
    query = torch.cat([red[..., :3], green[..., 3:]], dim=-1)
    supports = torch.stack([red, green])[:, None]
    plain, apart = encoder, centered(encoder, encoder(torch.stack([red, green])).embedding)

    def alike(one):
        maps = [explain(one, query, supports, target=target).cells.flatten() for target in (0, 1)]
        return float(torch.nn.functional.cosine_similarity(*maps, dim=0))

    assert alike(plain) > 0.95
    assert alike(apart) < 0


def test_what_has_no_mean_is_refused():
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match=r"expected at least 2 embeddings to center on, but got shape \(1, 4\)"):
        centered(encoder, torch.ones(1, 4))
    with pytest.raises(ValueError, match="expected finite means, but got nan"):
        centered(encoder, torch.tensor([[1.0, float("nan")], [1.0, 2.0]]))
    wrong = centered(encoder, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"expected embeddings of 3 channels, as the mean has, but got 4"):
        wrong(QUERY[None])


@pytest.fixture
def photographs(tmp_path):
    for number, name in enumerate(("red", "red", "green")):
        (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
        color = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(number))
        save_image(color, tmp_path / "images" / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_mean_of_a_bank(photographs, dtype):
    encoder = tiny_encoder(dtype=torch.float32)
    bank = MemoryBank.build(encoder, photographs / "images", directory=photographs / "birds.bank", dtype=dtype)
    read = encoder.preprocess([read_image(path) for path in bank.paths])
    wanted = encoder(read).embedding.numpy().mean(axis=0)
    for given in (bank, photographs / "birds.bank"):
        found = centered_on(encoder, given)
        np.testing.assert_allclose(found.head[-1].mean, wanted, rtol=1e-3 if dtype == "float16" else 1e-5)
        assert found.centered_on == "the 3 images of the bank birds.bank"


def test_a_bank_of_another_encoder_or_of_one_image_is_refused(photographs):
    encoder = tiny_encoder(dtype=torch.float32)
    MemoryBank.build(encoder, photographs / "images", directory=photographs / "bank")
    with pytest.raises(ValueError, match="the bank was built with encoder"):
        centered_on(tiny_encoder(random_head("linear"), dtype=torch.float32), photographs / "bank")
    with pytest.raises(FileNotFoundError, match="expected a memory bank"):
        centered_on(encoder, photographs / "images")
    with pytest.raises(ValueError, match="expected a bank of at least 2 images to center on, but got 1"):
        centered_on(encoder, MemoryBank.from_embeddings(torch.ones(1, CHANNELS)))


def test_a_network_that_goes_on_by_itself_still_does():
    encoder = Encoder.named("demo-vit", readout="integrated")
    batch = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    own = encoder(batch).embedding
    torch.testing.assert_close(centered(encoder, own)(batch).embedding, own - own.mean(dim=0))
