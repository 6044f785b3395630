"""A similarity with every term of its form: what the library's own similarities do not all have adds up too."""

import pytest
import torch
from affine_similarity import random_affine
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.analysis.correspondence import tables
from fsl_explain.similarities import euclidean

SHOTS = {"a": 3, "b": 1, "c": 2}


def explained(method, rule="mean-similarity", **options):
    encoder = tiny_encoder(random_head("linear"))
    supports = {name: images(shots, seed=20 + shots) for name, shots in SHOTS.items()}
    return explain(
        encoder, images(2, seed=10), supports, method=method, rule=rule, similarity=random_affine(3), **options
    )


@pytest.mark.parametrize("method", ["exact", "contrast", "verification"])
@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "nearest-neighbor", KnnVote(k=6)], ids=str)
def test_either_side_and_the_receipt_add_up(rule, method):
    found = explained(method, rule, threshold=0.25 if method == "verification" else None)
    for cells, bias in ((found.cells, found.bias), (found.support_cells.nansum((1, 2)), found.support_bias)):
        torch.testing.assert_close(cells.sum((-2, -1)) + bias, found.score)
    torch.testing.assert_close(found.contributions.sum(-1) + found.bias, found.score)
    torch.testing.assert_close(found.support_shares.sum((1, 2)), found.cells.sum((1, 2)))
    receipt = found[0].receipt()
    assert receipt.residual < 1e-12 * receipt.absolute_sum
    for line in receipt.lines:
        assert line.amount == pytest.approx(line.weight * line.similarity)


def test_the_parts_of_a_pair_are_those_of_its_formula():
    """One support: the cells hold (sMq' + u)·Gz, or (sMᵀz' + v)·Gq, and what is left of either is the bias."""
    encoder, kind = tiny_encoder(random_head("linear")), random_affine(3)
    query, support = images(seed=10), images(seed=20)
    found = explain(encoder, query, support[None, None], similarity=kind)
    z, q = encoder(torch.stack([query, support])).embedding
    b, (u, v) = encoder.head.bias.detach(), kind.slopes
    torch.testing.assert_close(found.cells.sum(), (0.5 * kind.metric @ q + u) @ (z - b))
    torch.testing.assert_close(found.bias, (0.5 * kind.metric @ q + u) @ b + v @ q + 0.7)
    torch.testing.assert_close(found.support_cells.sum(), (0.5 * kind.metric.T @ z + v) @ (q - b))
    torch.testing.assert_close(found.support_bias, (0.5 * kind.metric.T @ z + v) @ b + u @ z + 0.7)
    corner = tables(found.question)[0, 0, -1, -1]
    torch.testing.assert_close(corner, 0.5 * b @ kind.metric @ b + u @ b + v @ b + 0.7)


def test_the_euclidean_parts_of_a_pair_are_those_of_its_formula():
    encoder, query, support = tiny_encoder(random_head("linear")), images(seed=10), images(seed=20)
    found = explain(encoder, query, support[None, None], similarity=euclidean)
    z, q = encoder(torch.stack([query, support])).embedding
    b = encoder.head.bias.detach()
    torch.testing.assert_close(found.support_cells.sum(), (2 * z - q) @ (q - b))
    torch.testing.assert_close(found.support_bias, (2 * z - q) @ b - z @ z)
    torch.testing.assert_close(found.support_shares.sum(), (2 * q - z) @ (z - b))
    torch.testing.assert_close(found.support_biases.sum(), (2 * q - z) @ b - q @ q)


@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_all_tables_have_the_maps_as_margins(method):
    found = explained(method)
    split = tables(found.question)
    torch.testing.assert_close(split.sum((1, 2, 3, 4)), found.score)
    torch.testing.assert_close(split.sum((1, 2, -1))[:, :-1].reshape(found.cells.shape), found.cells)
    columns = split.sum(-2)[..., :-1].reshape(found.support_cells.shape)
    torch.testing.assert_close(columns, found.support_cells.nan_to_num())
