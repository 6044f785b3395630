"""Every method on token networks: an explanation, or one sentence; and mean maps that would be rounding alone."""

import re

import jaxtyping
import pytest
import torch
from decision_parts import OPTIONS
from token_networks import module, shaken, token_encoder, token_images

from episodes.errors import Mistake
from fsl_explain import Encoder, explain, saliency
from fsl_explain.explainers import METHODS

READOUTS = {
    "timm registers": ("class", "class-direct", "class-last", "class+mean", "mean"),
    "timm distilled": ("class",),
    "timm siglip": ("attention-pool",),
    "timm eva": ("class",),
}
CASES = [(name, readout) for name, readouts in READOUTS.items() for readout in readouts]
ANSWERING = {"exact", "contrast", "log-probability", "verification", "eigen-cam", "lafam"}


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def answer(encoder, query, supports, method):
    try:
        return explain(encoder, query, supports, method=method, **OPTIONS.get(method, {}))
    except Mistake as refused:
        return str(refused)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "readout"), CASES)
def test_an_answer_or_one_sentence(name, readout, method):
    encoder = token_encoder(name, readout, torch.float32)
    query, supports = token_images(2, dtype=torch.float32), token_images(2, 2, seed=1, dtype=torch.float32)
    found = answer(encoder, query, supports, method)
    if isinstance(found, str):
        assert method not in ANSWERING
        assert not re.search(r"\. [A-Z]", found)
        assert found.endswith(".")
        return
    assert found.saliency.shape == (2, 32, 32)
    assert bool(found.saliency.isfinite().all())
    assert not found.saliency.requires_grad


@pytest.mark.parametrize("method", ["lafam", "eigen-cam"])
def test_label_free_maps_are_those_of_the_last_patches(method):
    """Those that leave the last block, before the norm."""
    encoder = token_encoder("timm registers", "class")
    left = []
    encoder.network.blocks[-1].register_forward_hook(lambda *of: left.append(of[-1][:, 3:]))
    found = saliency(encoder, token_images(1), method=method)
    maps = encoder(token_images(1)).maps
    torch.testing.assert_close(maps.flatten(2).mT, left[0])
    assert found.shape == (1, 32, 32)


def swin():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind = module("torchvision.models").SwinTransformer
        return kind([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=3).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_mean_map_of_rounding_alone_is_refused(dtype):
    """Behind a layer norm whose gains are all 1 the mean over channels is the same in every cell."""
    encoder = Encoder.wrap(swin().to(dtype), "permute")
    query, supports = (
        token_images(2, size=(64, 64), dtype=dtype),
        token_images(2, 1, seed=1, size=(64, 64), dtype=dtype),
    )
    said = (
        "expected activation maps whose mean over channels differs .* behind a layer norm; use a layer before the norm"
    )
    with pytest.raises(Mistake, match=said):
        explain(encoder, query, supports, method="lafam")
    with pytest.raises(Mistake, match=said):
        saliency(encoder, query)
    assert float(saliency(encoder, query, method="eigen-cam").amax()) == 1


def test_a_mean_map_of_uneven_gains_is_one():
    encoder = Encoder.wrap(shaken(swin()), "permute")
    assert float(saliency(encoder, token_images(size=(64, 64))).amax()) > 0.9


def test_a_blank_image_has_a_mean_map():
    """Its maps do not differ from cell to cell at all."""
    encoder = token_encoder("timm mean, norm before")
    encoder.network.pos_embed.data.zero_()
    assert saliency(encoder, torch.zeros(3, 32, 32).double()).shape == (32, 32)
