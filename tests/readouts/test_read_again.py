"""What readouts would make of other cells: of those that they read, it is what they made, and derivatives pass."""

import pytest
import torch
from test_pooled_maps import Small
from token_networks import PAIRS, token_encoder, token_images

from fsl_explain import Encoder, explain
from fsl_explain.readouts.read_again import ReadsAgain

OF_THE_CLASS_TOKEN_ALONE = ("timm volo", "timm xcit", "timm xcit, patches normalized")  # their last blocks
READ = [(name, readout) for name, readout in PAIRS if readout != "mean"]
APART = [(name, readout) for name, readout in READ if readout == "class+mean" and name in OF_THE_CLASS_TOKEN_ALONE]
ENCODERS = {f"{name}, {readout}": (name, readout) for name, readout in READ if (name, readout) not in APART}


def expect_the_same(encoder, images):
    features = encoder(images)
    trace = features.trace
    assert isinstance(trace, ReadsAgain)
    torch.testing.assert_close(trace.read_again(trace.cells_read), features.pooled)
    one = trace.of([part[1:] for part in trace.parts()])
    torch.testing.assert_close(one.read_again(one.cells_read), features.pooled[1:])
    cells = trace.cells_read.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(trace.read_again(cells).square().sum(), cells)
    assert bool((gradient.abs().amax(dim=1) > 0).all())


@pytest.mark.parametrize("name", ENCODERS)
def test_the_cells_that_were_read_make_the_pooled_values(name):
    expect_the_same(token_encoder(*ENCODERS[name]), token_images(2))


@pytest.mark.parametrize("name", OF_THE_CLASS_TOKEN_ALONE)
def test_a_mean_beside_a_block_for_the_class_token_alone_is_refused(name):
    encoder, supports = token_encoder(name, "class+mean"), token_images(2, 1, seed=1)
    with pytest.raises(ValueError, match="expected the last block to write the tokens that are read out, patches as"):
        explain(encoder, token_images(), supports, method="grad-cam")


def test_so_do_maps_that_attention_pools():
    expect_the_same(Encoder.wrap(Small()), torch.randn(2, 3, 12, 12, dtype=torch.float64))
