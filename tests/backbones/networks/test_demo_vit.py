"""The Vision Transformer that ships with the project: small, whole, and deciding by both of its readouts."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from episodes import DigitScenes, EpisodeSampler, Split
from fsl_explain import Encoder
from fsl_explain.backbones.named import build_named, shipped_with
from fsl_explain.backbones.networks.demo_vit import PATCH, SIDE, demo_vit
from fsl_explain.backbones.weights.loading import trained_on
from fsl_explain.cli.seen import check_evaluated
from fsl_explain.config import EncoderConfig
from fsl_explain.config.data import DigitScenesData
from fsl_explain.metrics import mean_interval
from fsl_explain.similarities import cosine

WAY, QUERIES = 5, 5


def both_readouts(network, images):
    """The class token and the mean of the patches, behind the last normalization."""
    tokens = []
    handle = network.encoder.register_forward_hook(lambda _module, _given, made: tokens.append(made))
    with torch.no_grad():
        network(images)
    handle.remove()
    return {"class": tokens[0][:, 0], "mean": tokens[0][:, 1:].mean(dim=1)}


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


@pytest.mark.parametrize("readout", ["class", "mean"])
def test_either_readout_decides_digits_that_it_was_never_trained_on(readout):
    scenes = DigitScenes("novel", per_class=40)
    assert set(scenes.classes) == set(Split.load("digit-scenes").novel)
    trained = Encoder.named("demo-vit")
    images = trained.preprocess([scenes[index].image for index in range(len(scenes))])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        untrained = demo_vit().eval()
    found = {
        name: mean_interval(accuracies(both_readouts(network, images)[readout], scenes.labels, 200))
        for name, network in (("trained", trained.network.eval()), ("untrained", untrained))
    }
    assert found["trained"].mean - found["trained"].half_width > 0.3
    assert found["trained"].mean - found["trained"].half_width > found["untrained"].mean + found["untrained"].half_width


def test_an_evaluation_of_classes_that_it_learned_is_refused():
    assert set(trained_on(shipped_with("demo-vit"))[0].classes) == set(Split.load("digit-scenes").base)
    encoder, data = EncoderConfig(name="demo-vit"), DigitScenesData(kind="digit-scenes", digits="base", per_class=2)
    with pytest.raises(ValueError, match=r"demo-vit-digit-scenes\.safetensors"):
        check_evaluated(encoder, data, data.open())
    novel = data.model_copy(update={"digits": "novel"})
    check_evaluated(encoder, novel, novel.open())


def test_the_order_of_patches_is_that_of_the_image():
    """Without positions, exchanging two patches exchanges their tokens."""
    network = build_named("demo-vit", None).network.eval()
    with torch.no_grad():
        network.encoder.pos_embedding.zero_()
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, SIDE, SIDE))).float()
    swapped = image.clone()
    swapped[..., :PATCH, :PATCH], swapped[..., PATCH : 2 * PATCH, :PATCH] = (
        image[..., PATCH : 2 * PATCH, :PATCH],
        image[..., :PATCH, :PATCH],
    )
    torch.testing.assert_close(both_readouts(network, swapped)["mean"], both_readouts(network, image)["mean"])
