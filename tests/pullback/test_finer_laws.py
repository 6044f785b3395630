"""Laws of finer maps: cells, biases and named parts are the score, for every kind of network and every rule."""

import pytest
import torch

from fsl_explain import Encoder, explain
from fsl_explain.finer import OWN_BIASES
from fsl_explain.heads import POOLINGS
from fsl_explain.pullback.named import PULLBACKS
from tests.pullback.followed_networks import BLOCKS, network

METHODS = ("exact", "contrast", "log-probability")
TIGHT = 1e-10


def encoder_of(kind, **options):
    net = network(kind)
    return Encoder.wrap(net, layer="block", tail="ignore", **options)


def images(count, side=16, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def question(seed=1):
    drawn = images(8, seed=seed)
    return drawn[:2], drawn[2:].unflatten(0, (3, 2))


def misses(found):
    """Return by how much of Σ|terms| cells, supports' cells and channels miss the score."""
    terms = found.cells.abs().sum(dim=(-2, -1)) + found.bias.abs()
    cells = found.score - found.cells.sum(dim=(-2, -1)) - found.bias
    supports = found.score - found.support_cells.nan_to_num().sum(dim=(-4, -3, -2, -1)) - found.support_bias
    return max(float((part.abs() / terms).max()) for part in (cells, supports, found.residual))


@pytest.mark.parametrize("biases", ["drawn", "apart"])
@pytest.mark.parametrize("pullback", list(PULLBACKS))
@pytest.mark.parametrize("kind", list(BLOCKS))
def test_cells_and_bias_are_the_score(kind, pullback, biases):
    encoder, (query, supports) = encoder_of(kind), question()
    for method in METHODS:
        found = explain(encoder, query, supports, method=method, detail=1, biases=biases, pullback=pullback)
        assert found.cells.shape[-2:] == (8, 8) == found.support_cells.shape[-2:]
        assert misses(found) < TIGHT
        assert (OWN_BIASES in found.named) == (biases == "apart")


@pytest.mark.parametrize("biases", ["drawn", "apart"])
@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_every_pooling_and_a_head(pooling, biases):
    (query, supports), width = question(), 96 if pooling == "flatten" else 6
    torch.manual_seed(2)
    head = torch.nn.Sequential(torch.nn.Linear(width, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4)).double()
    encoder = encoder_of("residual", pooling=pooling, head=head)
    for similarity in ("cosine", "inner-product", "euclidean"):
        found = explain(
            encoder,
            query,
            supports,
            method="contrast",
            similarity=similarity,
            detail=1,
            biases=biases,
            rule="prototype",
        )
        assert misses(found) < TIGHT


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_decisions_are_those_of_the_network_itself(kind):
    encoder, (query, supports) = encoder_of(kind), question()
    plain, finer = (explain(encoder, query, supports, method="contrast", detail=detail) for detail in (0, 1))
    assert torch.equal(plain.decision.scores, finer.decision.scores)
    torch.testing.assert_close(plain.contributions, finer.contributions)
    torch.testing.assert_close(plain.bias, finer.bias)


def test_each_step_doubles_the_grid_up_to_the_pixels():
    encoder, (query, supports) = encoder_of("residual"), question()
    for detail, side in enumerate((4, 8, 16)):
        found = explain(encoder, query, supports, detail=detail)
        assert found.cells.shape[-2:] == (side, side)
        assert misses(found) < TIGHT


def test_grids_that_strides_round_up_are_one_step_finer():
    query = images(1, side=23)
    found = explain(encoder_of("convolutions"), query, images(2, side=23)[:, None], detail=1)
    assert found.cells.shape[-2:] == (12, 12)  # 23 → 12 → 6
    assert misses(found) < TIGHT


def test_a_stride_of_four_gives_the_doubled_grid_all_the_same():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 4, stride=4))
    encoder = Encoder.wrap(net.double(), tail="ignore")
    found = explain(encoder, images(1), images(2)[:, None], detail=1)
    assert found.cells.shape[-2:] == (8, 8)  # of maps of 4×4, from ones of 16×16
    assert misses(found) < TIGHT


@pytest.mark.parametrize("pullback", list(PULLBACKS))
def test_images_without_anything_between_lie_where_they_were_read(pullback):
    """Two halves of an image that no kernel joins keep what they hold, whatever the rule."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 2, stride=2))
    encoder, (query, supports) = Encoder.wrap(net.double(), tail="ignore"), question()
    plain = explain(encoder, query, supports)
    finer = explain(encoder, query, supports, detail=1, pullback=pullback)
    together = finer.cells.unflatten(-1, (4, 2)).unflatten(-3, (4, 2)).sum(dim=(-3, -1))
    torch.testing.assert_close(together, plain.cells)


def test_what_weighs_nothing_is_drawn_as_nothing():
    features = encoder_of("residual").with_detail(1)(images(2))
    found = features.finer.drawn(features.maps, torch.zeros(3, 2, 6, 1, 1).double())
    assert torch.equal(found.cells, torch.zeros(3, 2, 8, 8).double())


def test_lafam_keeps_its_sum():
    encoder, (query, supports) = encoder_of("convolutions"), question()
    plain, finer = (explain(encoder, query, supports, method="lafam", detail=detail) for detail in (0, 1))
    torch.testing.assert_close(plain.cells.sum(dim=(-2, -1)), finer.cells.sum(dim=(-2, -1)))
    torch.testing.assert_close(plain.support_cells.sum(dim=(-2, -1)), finer.support_cells.sum(dim=(-2, -1)))


def test_drawn_is_apart_and_what_biases_carry():
    encoder, (query, supports) = encoder_of("gated"), question()
    drawn, apart = (
        explain(encoder, query, supports, detail=1, biases=biases, pullback="gamma") for biases in ("drawn", "apart")
    )
    assert (apart.named[OWN_BIASES].abs() > 1e-3).all()
    carried = drawn.cells.sum(dim=(-2, -1)) - apart.cells.sum(dim=(-2, -1))
    torch.testing.assert_close(carried, apart.named[OWN_BIASES])
