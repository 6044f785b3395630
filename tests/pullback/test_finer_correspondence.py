"""Pairs of the query's finer cells and the support's cells: they keep every sum, and a loop finds the same."""

import pytest
import torch

from fsl_explain import Encoder, Mistake, correspondence, explain, finer_correspondence
from fsl_explain.heads import Center, L2Normalize

HEADS = {
    "none": None,
    "linear": torch.nn.Linear(8, 5),
    "centered and normalized": torch.nn.Sequential(Center(torch.linspace(-1, 1, 8)), L2Normalize()),
}


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def encoder(head=None):
    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(3, 6, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(6, 6, 3, 2, 1), torch.nn.ReLU()]
    parts += [torch.nn.Conv2d(6, 8, 3, 2, 1), torch.nn.LeakyReLU(0.3)]
    network = torch.nn.Sequential(*parts).double()
    return Encoder.wrap(network, "5", head=None if head is None else head.double())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("biases", ["drawn", "apart"])
@pytest.mark.parametrize("pullback", ["abs", "gamma"])
@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "inner-product"])
def test_finer_pairs_keep_every_sum(images, head, biases, pullback, similarity):
    supports = {"a": images[1:3], "b": images[3:4]}
    found = explain(
        encoder(HEADS[head]),
        images[0],
        supports,
        method="contrast",
        similarity=similarity,
        detail=1,
        biases=biases,
        pullback=pullback,
    )
    rows = 0
    for label, shot in ((0, 0), (0, 1), (1, 0)):
        finer, coarse = (pairs(found, label=label, shot=shot) for pairs in (finer_correspondence, correspondence))
        assert finer.shape == tuple(found.cells.shape)
        assert finer.support_shape == coarse.support_shape
        torch.testing.assert_close(finer.table.sum(dim=0), coarse.table.sum(dim=0))
        assert float(finer.table.sum()) == pytest.approx(coarse.weight * coarse.similarity)
        rows = rows + finer.cells[0]
    torch.testing.assert_close(rows, found.cells.double())  # over all supports, the query's finer cells


def test_a_column_is_the_finer_map_of_that_support_cell_alone(images):
    """A second writing: the same network is asked about a support that is one cell."""
    asked = encoder()
    found = explain(asked, images[0], {"a": images[1:2]}, similarity="inner-product", detail=1)
    finer = finer_correspondence(found)
    maps = asked(images[1:2]).maps[0]
    for cell in (0, 5, 15):
        row, column = divmod(cell, maps.shape[-1])
        one = (maps[:, row, column] / maps[0].numel())[None]
        alone = explain(asked, images[0], {"a": one.double()}, similarity="inner-product", detail=1)
        torch.testing.assert_close(finer.pairs[:, :, row, column], alone.cells.double())


def test_what_has_no_finer_pairs_says_so(images, tmp_path):
    supports = {"a": images[1:2]}
    with pytest.raises(Mistake, match="add detail=1"):
        finer_correspondence(explain(encoder(), images[0], supports))
    found = explain(encoder(), images[0], supports, detail=1)
    found.save(tmp_path / "found.safetensors")
    with pytest.raises(Mistake, match="explain the image again"):
        finer_correspondence(type(found).load(tmp_path / "found.safetensors"))
