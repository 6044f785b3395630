"""Every named encoder, on its way to an explanation: its sums add up, and folding changes nothing but rounding."""

from copy import deepcopy

import jaxtyping
import pytest
import torch
from named_encoders import DIFFERENT, SAME_TRUNK, assert_close_in_scale, random_images, small_encoder
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.heads import linearize


@pytest.fixture
def traceable():
    """Let networks be traced as they are outside of the tests, whose checks of annotations refuse a tracer's values."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def encoder(name):
    """Built once for all tests of a name, none of which changes it."""
    return small_encoder(name)


every_name = pytest.mark.parametrize("name", DIFFERENT, scope="module")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in SAME_TRUNK]


@pytest.mark.parametrize("name", [*DIFFERENT, *SLOW], scope="module")
def test_exact_contributions_add_up_to_the_score(encoder):
    query, supports = encoder(random_images(2, seed=1)), encoder(random_images(6, seed=2)).unflatten(3, 2)
    for similarity in ("cosine", "euclidean"):
        explanation = explain(encoder, random_images(2, seed=1), supports, method="exact", similarity=similarity)
        total = explanation.contributions.sum(dim=-1) + explanation.bias
        torch.testing.assert_close(total.double(), explanation.score.double(), rtol=1e-4, atol=1e-5)
        terms = explanation.contributions.abs().sum(dim=-1) + explanation.bias.abs()
        assert (explanation.residual <= 1e-5 * terms).all()
        assert explanation.cells.shape[-2:] == query.maps.shape[-2:]


@every_name
def test_heads_are_linear_at_every_image(encoder):
    pooled = encoder(random_images(3)).pooled.double()
    head = deepcopy(encoder.head).double()
    frozen = linearize(head, pooled)
    found = frozen.push_forward(pooled[:, None]).squeeze(1) + frozen.offset
    torch.testing.assert_close(found, head(pooled).detach(), rtol=1e-10, atol=1e-12)


@every_name
@pytest.mark.usefixtures("traceable")
def test_folding_changes_nothing_but_rounding(name, encoder):
    parts = {"layer": encoder.layer, "pooling": encoder.pooling, "head": encoder.head}
    eager, folded = encoder, Encoder(deepcopy(encoder.network), **parts, inference="folded")
    batch = random_images(2, side=64)
    assert_close_in_scale(folded(batch).maps, eager(batch).maps, 1e-4)
    assert_close_in_scale(folded(batch).embedding, eager(batch).embedding, 1e-4)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in folded.network.modules())
    assert left == (6 if name == "wrn-28-10" else 0)  # those before the first convolution of a block
