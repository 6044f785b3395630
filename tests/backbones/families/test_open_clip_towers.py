"""Towers of open_clip by name: their own output, their images, and their weights beside a text tower."""

import pytest
import torch
from safetensors.torch import save_file

from fsl_explain import Encoder, explain
from fsl_explain.backbones.families.open_clip_models import preprocessing_of

open_clip = pytest.importorskip("open_clip", reason="the extra 'open-clip' is not installed")

TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
CONVNEXT = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TOWERS = {"small-RN": RESNET, "small-convnext": {**CONVNEXT, "timm_pool": "avg"}, "small-ViT": VIT}


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Let open_clip know models that are quick to build."""
    known = {name: {"embed_dim": 12, "vision_cfg": tower, "text_cfg": TEXT} for name, tower in TOWERS.items()}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS, **known})


def images_for(encoder, count=3):
    return torch.rand(count, 3, *[encoder.image_size] * 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", TOWERS)
def test_the_embedding_is_the_towers_own(name):
    encoder = Encoder.named(f"open_clip:{name}")
    images = images_for(encoder)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).embedding, encoder.network.eval()(images), rtol=1e-4, atol=1e-5)
    found = explain(encoder, images[0], {"a": images[1:2], "b": images[2:]})
    assert found.residual <= 1e-5 * found.absolute_sum


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("name", TOWERS)
def test_weights_are_taken_from_beside_the_text_tower(tmp_path, name, ending):
    torch.manual_seed(5)
    donor, path = open_clip.create_model(name).eval(), tmp_path / f"weights.{ending}"
    state = donor.state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state}, path)
    images = torch.rand(1, 3, *[TOWERS[name]["image_size"]] * 2)
    with torch.no_grad():
        own = donor.encode_image(images)
    for encoder in (Encoder.named(f"open_clip:{name}", checkpoint=path), Encoder.named(f"open_clip:{name}/{path}")):
        torch.testing.assert_close(encoder(images).embedding, own, rtol=1e-4, atol=1e-5)
        assert encoder.random == ()


@pytest.mark.parametrize(("mode", "resize"), [("shortest", (30,)), ("squash", (30, 30))])
def test_images_are_prepared_as_open_clip_says(mode, resize):
    facts = {"size": (30, 30), "mean": (0.5,) * 3, "std": (0.25,) * 3, "resize_mode": mode, "interpolation": "bilinear"}
    found = preprocessing_of(facts, "it")
    steps = {type(step).__name__: step for step in found.transform.transforms}
    assert (tuple(steps["Resize"].size), steps["Resize"].interpolation.value) == (resize, "bilinear")
    with pytest.raises(ValueError, match=r"cut at the center or squeezed, but it wants .*longest"):
        preprocessing_of({**facts, "resize_mode": "longest"}, "it")


def test_a_mistake_is_one_sentence():
    with pytest.raises(LookupError, match=r"unknown open_clip network 'small-RNN'; did you mean 'small-RN'"):
        Encoder.named("open_clip:small-RNN")
    with pytest.raises(ValueError, match=r"expected a file of weights behind the name, but laion does not exist"):
        Encoder.named("open_clip:small-RN/laion")
