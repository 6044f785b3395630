"""The Vision Transformer that ships with the project: small, whole, and deciding by both of its readouts."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from episodes import DigitScenes, EpisodeSampler, Split
from fsl_explain import Encoder, explain
from fsl_explain.backbones.named import build_named, shipped_with
from fsl_explain.backbones.networks.demo_vit import PATCH, SIDE, demo_vit
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.backbones.weights.loading import trained_on
from fsl_explain.cli.seen import check_evaluated
from fsl_explain.config import EncoderConfig
from fsl_explain.config.data import DigitScenesData
from fsl_explain.metrics import mean_interval
from fsl_explain.similarities import cosine

WAY, QUERIES = 5, 5


def read_out(network, readout):
    return Encoder.wrap(network, readout=readout, preprocess=Preprocessing(SIDE).transform)


def by_hand(network, images):
    """The class token and the mean of the patches, behind the last normalization."""
    tokens = []
    handle = network.encoder.register_forward_hook(lambda _module, _given, made: tokens.append(made))
    with torch.no_grad():
        network(images)
    handle.remove()
    return {"class": tokens[0][:, 0], "mean": tokens[0][:, 1:].mean(dim=1)}


@pytest.fixture(scope="module")
def trained():
    return build_named("demo-vit", None).network.eval()


@pytest.fixture(scope="module")
def scenes():
    return DigitScenes("novel", per_class=40)


@pytest.fixture(scope="module")
def images(scenes):
    return Encoder.named("demo-vit").preprocess([scenes[index].image for index in range(len(scenes))])


def accuracies(embeddings, labels, episodes):
    truth = torch.arange(WAY).repeat_interleave(QUERIES)
    sampler = EpisodeSampler(labels, n_way=WAY, n_shot=1, n_query=QUERIES)
    hits = [
        (cosine.pairwise(embeddings[one.query.ravel()], embeddings[one.support[:, 0]]).argmax(dim=1) == truth)
        for one in sampler.episodes(episodes)
    ]
    return torch.stack(hits).double().mean(dim=1)


def test_it_is_small():
    assert sum(parameter.numel() for parameter in demo_vit().parameters()) < 1_000_000
    assert 1_000_000 < shipped_with("demo-vit").stat().st_size < 2_000_000
    assert SIDE // PATCH >= 8


def test_its_own_weights_are_taken_unless_others_are_given(tmp_path):
    built = build_named("demo-vit", None)
    stored = load_file(shipped_with("demo-vit"))
    assert "demo-vit-digit-scenes.safetensors, sha256" in built.weights
    assert not built.random
    for name, value in built.network.state_dict().items():
        assert torch.equal(value, stored[name].float())
    other = tmp_path / "other.safetensors"
    other.write_bytes(shipped_with("demo-vit").read_bytes())
    assert "other.safetensors" in build_named("demo-vit", other).weights


def test_no_other_network_ships_its_weights_so():
    assert shipped_with("conv4net") is None
    assert shipped_with("torchvision:resnet18") is None


def test_by_name_it_is_read_out_as_it_makes_its_embedding(trained, images):
    encoder = Encoder.named("demo-vit")
    with torch.no_grad():
        torch.testing.assert_close(encoder(images[:4]).embedding, trained(images[:4]))
    assert encoder.image_size == SIDE
    assert encoder(images[:2]).maps.shape == (2, 128, SIDE // PATCH, SIDE // PATCH)


@pytest.mark.parametrize("readout", ["class", "mean"])
def test_either_readout_decides_digits_that_it_was_never_trained_on(readout, trained, scenes, images):
    assert set(scenes.classes) == set(Split.load("digit-scenes").novel)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = demo_vit().eval()
    embeddings = [read_out(network, readout)(images).embedding for network in (trained, untrained)]
    torch.testing.assert_close(embeddings[0], by_hand(trained, images)[readout])
    found, before = (mean_interval(accuracies(one, scenes.labels, 200)) for one in embeddings)
    assert found.mean - found.half_width > 0.35
    assert found.mean - found.half_width > before.mean + before.half_width


@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_the_class_token_gathers_its_decision_from_the_digit(method, trained, scenes, images):
    """The digit covers about a twelfth of a scene; a quarter of what speaks for the decision lies on it."""
    encoder, shares, areas = read_out(trained, "class"), [], []
    sampler = EpisodeSampler(scenes.labels, n_way=WAY, n_shot=1, n_query=QUERIES)
    for episode in sampler.episodes(4):
        queries = episode.query.ravel()
        saliency = explain(encoder, images[queries], images[episode.support], method=method).saliency.clamp(min=0)
        masks = torch.stack([nearest(scenes[index].mask) for index in queries.tolist()])
        shares.append((saliency * masks).sum(dim=(1, 2)) / saliency.sum(dim=(1, 2)))
        areas.append(masks.mean(dim=(1, 2)))
    assert torch.cat(shares).mean() > 0.25
    assert torch.cat(areas).mean() < 0.1


def nearest(mask):
    return F.interpolate(mask[None, None].float(), (SIDE, SIDE))[0, 0]


def test_an_evaluation_of_classes_that_it_learned_is_refused():
    assert set(trained_on(shipped_with("demo-vit"))[0].classes) == set(Split.load("digit-scenes").base)
    encoder, data = EncoderConfig(name="demo-vit"), DigitScenesData(kind="digit-scenes", digits="base", per_class=2)
    with pytest.raises(ValueError, match=r"demo-vit-digit-scenes\.safetensors"):
        check_evaluated(encoder, data, data.open())
    novel = data.model_copy(update={"digits": "novel"})
    check_evaluated(encoder, novel, novel.open())


def test_without_positions_exchanging_patches_exchanges_their_cells(images):
    network = build_named("demo-vit", None).network.eval()
    with torch.no_grad():
        network.encoder.pos_embedding.zero_()
    rows = torch.arange(SIDE).unflatten(0, (-1, PATCH)).flip(0).flatten()  # the rows of patches in reverse
    encoder = read_out(network, "class")
    plain, moved = (explain(encoder, one, images[:5, None]).cells for one in (images[5:8], images[5:8, :, rows]))
    torch.testing.assert_close(moved, plain.flip(-2))
