"""What a converted file may ask for: sane options of its network, before any memory is taken for it."""

import inspect
import json
import time

import pytest
import torch
from safetensors.torch import save_file

from fsl_explain import Encoder
from fsl_explain.backbones import Conv4Net
from fsl_explain.backbones.networks.wide_resnet import WideResNet
from fsl_explain.backbones.preprocessing import OF_THE_IMAGES
from fsl_explain.backbones.weights.loading import SETTINGS, read_manifest
from fsl_explain.config import HeadConfig
from fsl_explain.registries import ENCODERS

TINY = Conv4Net(channels=2).state_dict()


def converted(tmp_path, settings, state=TINY, network="conv4net"):
    path = tmp_path / "converted.safetensors"
    text = json.dumps({"network": network, "settings": settings})
    save_file(dict(state), path, metadata={"fsl_explain": text})
    return path


def test_sane_options_are_taken(tmp_path):
    settings = {"channels": 2, "negative_slope": 0.0, "size": 32, "mean": [0.0, 0.5, 1.0], "std": [1.0, 1.0, 2.0]}
    path = converted(tmp_path, settings)
    assert read_manifest(path)["settings"] == settings
    encoder = Encoder.named("conv4net", checkpoint=path)
    assert (encoder.image_size, encoder.normalization) == (32, ([0.0, 0.5, 1.0], [1.0, 1.0, 2.0]))


MISTAKES = {
    "channels": [10**7, 0, -1, 2.0, True, "2", [2], None, {}],
    "size": ["x", 0, 10**6, 2.5, [84, 84], False],
    "negative_slope": ["0", float("nan"), float("inf"), 10**400, True, [0.1]],
    "mean": [0.5, "abc", [0.5], ["a", "b", "c"], [0.5] * 4, [float("nan")] * 3, [[1], [1], [1]]],
    "widths": [3, [2] * 9, [10**6] * 4, [True] * 4, "1234"],
    "padding": [-1, 5, 10**9, 0.5],
    "stem": ["9x9", 7, ["7x7"], ""],
    "pooling": ["max", 1, ["gap"], None],
    **{name: ["DEFAULT", 1] for name in ("weights", "seed", "layer", "release", "head", "checkpoint", "name")},
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in MISTAKES.items() for value in values], ids=repr
)
def test_other_options_and_values_are_a_damaged_manifest(tmp_path, option, value):
    path = converted(tmp_path, {option: value})
    with pytest.raises(
        ValueError, match=r"the manifest of a converted checkpoint in .*, but it is damaged; convert it"
    ):
        Encoder.named("conv4net", checkpoint=path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", '{"network": "conv4net", "settings": [1]}'], ids=["deep", "[]", "list"]
)
def test_a_manifest_of_another_form_is_damaged(tmp_path, text):
    save_file(dict(TINY), tmp_path / "c.safetensors", metadata={"fsl_explain": text})
    with pytest.raises(
        ValueError, match=r"the manifest of a converted checkpoint in .*, but it is damaged; convert it"
    ):
        read_manifest(tmp_path / "c.safetensors")


def test_a_network_of_another_size_is_refused_before_it_is_built(tmp_path):
    state = WideResNet(depth=10, widen_factor=2).state_dict()
    path = converted(tmp_path, {"depth": 10, "widen_factor": 4096}, state, "wrn-28-10")  # hundreds of GiB
    started = time.process_time()
    with pytest.raises(ValueError, match=r"expected block1.layer.0.\w+.\w+ of shape \(65536,.*\), but .*"):
        Encoder.named("wrn-28-10", checkpoint=path)
    assert time.process_time() - started < 5


def test_to_look_at_a_network_first_does_not_change_what_is_drawn(tmp_path):
    """A head that is fresh depends on the seed alone."""
    head = HeadConfig(kind="linear", width=3, fresh=True)
    path = converted(tmp_path, {"channels": 2})
    save_file(dict(TINY), tmp_path / "plain.safetensors")
    plain = Encoder.named("conv4net", checkpoint=tmp_path / "plain.safetensors", head=head, channels=2)
    assert torch.equal(Encoder.named("conv4net", checkpoint=path, head=head).head[0].weight, plain.head[0].weight)


def test_every_option_of_a_network_may_stand_in_a_manifest():
    options = {name for recipe in ENCODERS.values() for name in inspect.signature(recipe.build).parameters}
    assert set(SETTINGS) == options | {*OF_THE_IMAGES, "pooling"}
