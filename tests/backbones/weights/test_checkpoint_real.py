"""The published weights of Relation Network, a legacy pickle of 2018, against a plain functional forward."""

from pathlib import Path

import pytest
import torch
from conftest import SHARED
from named_encoders import assert_close_in_scale
from torch.nn import functional as F

from fsl_explain import Encoder, explain
from fsl_explain.backbones.conversion import convert
from fsl_explain.backbones.named import build_named
from fsl_explain.backbones.weights.checkpoint import read_content
from fsl_explain.backbones.weights.legacy_pickle import read_inert
from fsl_explain.cli.from_settings import accuracy_of
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.metrics import mean_interval

pytestmark = pytest.mark.real
SHOTS = (1, 5)


def weights(part, shots):
    path = SHARED / "weights" / "relationnet_conv64f" / f"miniimagenet_{part}_5way_{shots}shot.pkl"
    if not path.is_file():
        pytest.skip("the published weights of Relation Network do not stand beside this checkout")
    return path


def forward(state, images):
    """The encoder as its paper draws it: no padding and max pooling in the first two blocks, padding in the others."""
    maps = images
    for block in (1, 2, 3, 4):
        conv, norm = f"layer{block}.0.", f"layer{block}.1."
        padding = 0 if block <= 2 else 1
        maps = F.conv2d(maps, state[conv + "weight"], state[conv + "bias"], padding=padding)
        statistics = (state[norm + "running_mean"], state[norm + "running_var"])
        maps = F.relu(F.batch_norm(maps, *statistics, state[norm + "weight"], state[norm + "bias"]))
        maps = F.max_pool2d(maps, 2) if block <= 2 else maps
    return maps


@pytest.mark.parametrize("shots", SHOTS)
def test_the_published_encoder_loads_and_computes_what_a_plain_forward_does(tmp_path, shots):
    path = weights("feature_encoder", shots)
    built = build_named("conv64f", path)
    assert built.report.release == "relation-network"
    assert len(built.report.loaded) == 24
    assert (dict(built.report.dropped), built.report.beside) == ({}, ())
    assert all(name.endswith("num_batches_tracked") for name in built.report.fresh)
    encoder = Encoder.named("conv64f", checkpoint=path)
    assert encoder.normalization == ([0.92206] * 3, [0.08426] * 3)
    images = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    maps = encoder(images).maps
    assert maps.shape == (2, 64, 19, 19)
    assert_close_in_scale(maps, forward(read_content(path), images))
    convert(path, "conv64f", tmp_path / "converted.safetensors")
    assert torch.equal(Encoder.named("conv64f", checkpoint=tmp_path / "converted.safetensors")(images).maps, maps)


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("part", ["feature_encoder", "relation_network"])
def test_our_own_reader_reads_what_torch_does(part, shots):
    path = weights(part, shots)
    ours, theirs = read_inert(path), torch.load(path, map_location="cpu", weights_only=True)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_the_relation_head_is_no_encoder():
    sentence = (
        r"does not fit Conv64F: 1[0-9] missing \(layer3.0.weight, .*\), 4 unexpected \(fc1.weight, fc1.bias, fc2.we"
    )
    with pytest.raises(ValueError, match=sentence):
        Encoder.named("conv64f", checkpoint=weights("relation_network", 1))


def test_an_explanation_of_the_published_encoder_adds_up():
    encoder = Encoder.named("conv64f", checkpoint=weights("feature_encoder", 5))
    images = torch.randn(6, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    explanation = explain(encoder, images[0], images[1:].unflatten(0, (5, 1)))
    assert explanation.residual <= 1e-5 * explanation.absolute_sum


@pytest.mark.slow
def test_prototypes_of_the_published_encoder_beat_random_weights_and_chance(tiny_imagenet_boxes):
    """A short run of the two configurations, on ten classes that the encoder has not been trained on."""
    weights("feature_encoder", 5)
    bounds = {}
    for name in ("relation-network", "relation-network-random"):
        config = Path(__file__).parents[3] / "configs/live" / f"{name}-tiny-imagenet-boxes.toml"
        settings = read_config(config, EvaluationConfig, ("episodes.count=40",))
        few = settings.data.model_copy(update={"classes": settings.data.classes[:10]})
        accuracy = accuracy_of(settings, Encoder.from_config(settings.encoder), few.open())
        mean, half_width, _ = mean_interval(accuracy)
        bounds[name] = (mean - half_width, mean + half_width)
    assert bounds["relation-network"][0] > max(0.2, bounds["relation-network-random"][1])
