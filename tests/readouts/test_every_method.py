"""Every method on token networks: an explanation, or one sentence; and mean maps that would be rounding alone."""

import re

import pytest
import torch
from decision_parts import OPTIONS
from token_networks import token_encoder, token_images

from episodes.errors import Mistake
from fsl_explain import explain, saliency
from fsl_explain.explainers import METHODS

READOUTS = {
    "timm registers": ("class", "class-direct", "class-last", "class+mean", "mean"),
    "timm distilled": ("class",),
    "timm siglip": ("attention-pool",),
    "timm eva": ("class",),
}
CASES = [(name, readout) for name, readouts in READOUTS.items() for readout in readouts]
ANSWERING = {"exact", "contrast", "log-probability", "verification", "eigen-cam", "lafam"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("name", "readout"), CASES)
def test_an_answer_or_one_sentence(name, readout, method):
    encoder = token_encoder(name, readout, torch.float32)
    query, supports = token_images(2, dtype=torch.float32), token_images(2, 2, seed=1, dtype=torch.float32)
    try:
        found = explain(encoder, query, supports, method=method, **OPTIONS.get(method, {}))
    except Mistake as refused:
        assert method not in ANSWERING
        assert not re.search(r"\. [A-Z]", str(refused))
        assert str(refused).endswith(".")
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
