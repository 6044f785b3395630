"""The table of query cells × support cells: it adds up, and equals a brute-force decomposition of a game."""

import itertools

import pytest
import torch
from tiny_encoder import HEADS, images, random_head, tiny_encoder, width_of
from unchecked import loaded_without_shape_checks

from fsl_explain import correspondence, explain
from fsl_explain.explainers.analysis.correspondence import tables
from fsl_explain.heads import POOLINGS
from fsl_explain.similarities import SIMILARITIES, Mahalanobis

SHOTS = {"a": 3, "b": 1, "c": 2}


def ragged_supports(dtype=torch.float64):
    return {name: images(shots, seed=20 + shots, dtype=dtype) for name, shots in SHOTS.items()}


def some_mahalanobis(dimensions):
    root = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Mahalanobis(root @ root.T + torch.eye(dimensions, dtype=torch.float64))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("head", HEADS)
def test_tables_sum_to_the_score_and_their_margins_to_the_maps(head, pooling, dtype, tolerance):
    encoder = tiny_encoder(random_head(head, width_of(pooling)), pooling, dtype)
    queries, supports = images(2, seed=10, dtype=dtype), ragged_supports(dtype)
    dimensions = encoder(queries).embedding.shape[-1]
    for similarity in (*SIMILARITIES, some_mahalanobis(dimensions)):
        found = explain(encoder, queries, supports, method="contrast", similarity=similarity)
        split = tables(found.question)
        scale = split.abs().sum((1, 2, 3, 4))
        total = split.sum((1, 2, 3, 4)) + found.question.constant
        assert ((total - found.score).abs() < tolerance * scale).all()
        rows = split.sum((1, 2, -1))[:, :-1].reshape(found.cells.shape)
        columns = split.sum(-2)[..., :-1].reshape(found.support_cells.shape)
        assert ((rows - found.cells).abs().amax((1, 2)) < tolerance * scale).all()
        assert ((columns - found.support_cells.nan_to_num()).abs().amax((1, 2, 3, 4)) < tolerance * scale).all()


def dividends(value, players):
    """Harsanyi dividends of a game: what each coalition adds beyond its proper subsets."""
    found = {}
    for size in range(len(players) + 1):
        for coalition in itertools.combinations(players, size):
            inner = itertools.chain.from_iterable(itertools.combinations(coalition, n) for n in range(size))
            found[coalition] = value(set(coalition)) - sum(found[smaller] for smaller in inner)
    return found


@pytest.mark.parametrize("similarity", ["cosine", "euclidean", "inner-product"])
def test_entries_are_the_dividends_of_the_game_of_cells_with_frozen_norms(similarity):
    """Cells of both images are the players; the value is the weighted similarity of the cells that are there."""
    head = random_head("linear")
    encoder = tiny_encoder(head)
    query, support = images(seed=10)[:, :4, :4], images(seed=20)[:, :4, :4]  # maps of 2 × 2 cells
    split = correspondence(explain(encoder, query, support[None, None], similarity=similarity)).table
    a, b = (encoder(image[None]).maps[0].flatten(1) / 4 for image in (query, support))  # (channel, cell) shares
    z, q = (head(shares.sum(1)).detach() for shares in (a, b))

    def value(cells):
        x = sum((head.weight @ a[:, p] for side, p in cells if side == "query"), head.bias).detach()
        y = sum((head.weight @ b[:, r] for side, r in cells if side == "support"), head.bias).detach()
        if similarity == "cosine":
            return float(x @ y / (z.norm() * q.norm()))
        return float(x @ y) if similarity == "inner-product" else float(2 * x @ y - z @ x - q @ y)

    players = [*(("query", p) for p in range(4)), *(("support", r) for r in range(4))]
    found = dividends(value, players)
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for coalition, dividend in found.items():
        rows = [p for side, p in coalition if side == "query"]
        columns = [r for side, r in coalition if side == "support"]
        if len(rows) <= 1 and len(columns) <= 1:
            expected[rows[0] if rows else 4, columns[0] if columns else 4] = dividend
        else:
            assert abs(dividend) < 1e-10, coalition
    torch.testing.assert_close(split, expected, atol=1e-10, rtol=0)


def test_one_support_is_its_entry_of_all_tables():
    encoder = tiny_encoder(random_head("linear"))
    found = explain(encoder, images(seed=10), ragged_supports(), method="contrast", target="c", against="a")
    every = tables(found.question)
    for label, name in enumerate(SHOTS):
        for shot in range(SHOTS[name]):
            one = correspondence(found, label=name, shot=shot)
            torch.testing.assert_close(one.table, every[label, shot])
            torch.testing.assert_close(float(one.table.sum()), one.weight * one.similarity)
            assert (one.class_name, one.shot, one.weight) == (name, shot, float(found.support_weights[label, shot]))
    chosen = correspondence(found)
    addends = (found.support_weights * found.similarities)[2].nan_to_num().abs()
    assert (chosen.class_name, chosen.shot) == ("c", int(addends.argmax()))


def test_folded_pairs_sum_to_the_addend_and_spread_the_biases_evenly():
    encoder = tiny_encoder()
    found = explain(encoder, images(seed=10), images(1, 1, seed=20), similarity="euclidean")
    split = correspondence(found)
    torch.testing.assert_close(float(split.folded.sum()), float(found.score))
    query, support = (encoder(image[None]) for image in (images(seed=10), images(1, 1, seed=20)[0, 0]))
    a, b = query.maps[0].flatten(1) / 12, support.maps[0].flatten(1) / 12
    folded = 2 * a.T @ b - (query.pooled[0] @ a)[:, None] / 12 - (support.pooled[0] @ b)[None] / 12
    torch.testing.assert_close(split.folded.flatten(2).flatten(0, 1), folded)


def test_parts_add_up_to_the_pairs_and_the_first_is_the_strongest():
    split = correspondence(explain(tiny_encoder(), images(seed=10), images(2, 1, seed=20)))
    parts = split.parts(12)
    total = sum(part.strength * torch.einsum("ij,kl->ijkl", part.query, part.support) for part in parts)
    torch.testing.assert_close(total, split.pairs)
    torch.testing.assert_close(sum(part.amount for part in parts), float(split.pairs.sum()))
    assert [part.strength for part in parts] == sorted((part.strength for part in parts), reverse=True)
    assert all(part.query.sum() >= 0 for part in parts)


def test_strongest_matches_and_regions():
    split = correspondence(explain(tiny_encoder(), images(seed=10), images(2, 1, seed=20)))
    first, second = split.strongest(2)
    assert abs(first.amount) == split.pairs.abs().max()
    assert first.amount == split.pairs[(*first.query, *first.support)]
    assert abs(first.amount) >= abs(second.amount)
    regions = split.strongest_regions(3, side=2)
    for match in regions:
        (r, c), (s, d) = match.query, match.support
        torch.testing.assert_close(match.amount, float(split.pairs[r : r + 2, c : c + 2, s : s + 2, d : d + 2].sum()))
    for one, other in itertools.combinations(regions, 2):
        for side in ("query", "support"):
            (a, b), (c, d) = getattr(one, side), getattr(other, side)
            assert abs(a - c) >= 2 or abs(b - d) >= 2
    assert len(split.strongest_regions(1, side=99)) == 1
    torch.testing.assert_close(split.strongest_regions(1, side=99)[0].amount, float(split.pairs.sum()))


def test_matching_regions_are_found():
    """Channel 0 copies red: the red corner of the query met the red corner of the support."""
    from fsl_explain import Encoder

    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    query, support = torch.full((2, 3, 8, 8), 0.01)
    query[0, :2, :2], support[0, 6:, 4:6] = 1.0, 1.0
    (match,) = correspondence(explain(encoder, query, support[None, None])).strongest(1)
    assert (match.query, match.support) == ((0, 0), (3, 2))
    assert match.amount > 0.5


def test_refused_questions_have_one_sentence():
    encoder = tiny_encoder()
    batch = explain(encoder, images(2, seed=10), ragged_supports())
    with pytest.raises(ValueError, match="explanation of one query, but got that of a batch; index it"):
        correspondence(batch)
    with pytest.raises(LookupError, match=r"expected a shot of b from 0 to 0, but got 1\."):
        correspondence(batch[0], label="b", shot=1)
    with pytest.raises(LookupError, match=r"unknown class 'd'"):
        correspondence(batch[0], label="d")
    unchecked = loaded_without_shape_checks("fsl_explain.explainers.analysis.correspondence")
    with pytest.raises(TypeError, match=r"expected the number of a shot, but got '1'\."):
        unchecked.chosen_support(batch[0], "b", "1")


def test_how_many_and_how_wide_are_numbers_that_can_be():
    split = correspondence(explain(tiny_encoder(), images(seed=10), ragged_supports()))
    for listed in (split.strongest, split.strongest_regions, split.parts):
        assert listed(0) == ()
        with pytest.raises(ValueError, match=r"^expected a count of 0 or more, but got -1\.$"):
            listed(-1)
    with pytest.raises(ValueError, match=r"^expected regions at least 1 cell wide, but got side=0\.$"):
        split.strongest_regions(side=0)
