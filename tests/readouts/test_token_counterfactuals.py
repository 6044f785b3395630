"""Cells of token networks that are removed or replaced: what they wrote is taken away, and the decision made again."""

from itertools import combinations

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from token_networks import token_encoder, token_images

from fsl_explain.explainers.analysis.counterfactual import counterfactual

SEEDS = range(4)
EDITS = ("remove", "replace")
of_readouts = pytest.mark.parametrize("readout", ["class", "class-direct", "class-last", "class+mean"])


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """One test below checks the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def supports():
    return token_images(2, 2, seed=50)


def on_the_edge(encoder, seed):
    """An image between one of each class, so near to where the decision changes that a few cells change it."""
    first, second = supports()[0, seed % 2], supports()[1, seed // 2 % 2]
    embeddings, near, far = encoder(supports().flatten(0, 1)).embedding.unflatten(0, (2, 2)), 0.0, 1.0
    for _ in range(7):
        middle = (near + far) / 2
        pooled = encoder((middle * second + (1 - middle) * first)[None]).pooled[0]
        near, far = (near, middle) if int(scores_by_hand(encoder, pooled, embeddings).argmax()) else (middle, far)
    return near * second + (1 - near) * first


def edited_by_hand(encoder, query, found):
    """The query's pooled value, and the supports' embeddings, after the edit that was found."""
    features = encoder(query[None])
    donors = encoder(supports().flatten(0, 1)).unflatten(2, 2)
    pooled, written = features.pooled[0].clone(), features.trace.addends()[0]
    for turn, (row, column) in enumerate(found.cells):
        pooled -= written[:, row, column]
        if found.replaced_by is not None:
            shot, there, across = found.replaced_by[turn]
            pooled += donors.trace.addends()[found.donor, shot][:, there, across]
    return pooled, donors.embedding


def scores_by_hand(encoder, pooled, embeddings):
    with torch.no_grad():
        return F.cosine_similarity(encoder.head(pooled), embeddings, dim=-1).mean(dim=-1)


@pytest.mark.parametrize("edit", EDITS)
@of_readouts
def test_the_decision_after_the_edit(readout, edit):
    encoder, flipped = token_encoder("timm registers", readout), 0
    for seed in SEEDS:
        query = on_the_edge(encoder, seed)
        found = counterfactual(encoder, query, supports(), edit=edit)
        assert found.frozen_attention
        pooled, embeddings = edited_by_hand(encoder, query, found)
        torch.testing.assert_close(found.scores_at_features, scores_by_hand(encoder, pooled, embeddings))
        assert found.flipped_at_features == found.found
        assert not found.minimal
        if found.found:
            assert "At the features, with attention frozen, " in str(found)
        flipped += found.found
    assert flipped > 0


@pytest.mark.parametrize("edit", EDITS)
def test_attention_that_pools_is_linear_in_what_its_cells_write(edit):
    """Without a head behind it the fewest cells are proven; no smaller set of cells removed lets the other overtake."""
    encoder, flipped = token_encoder("transformers siglip"), 0
    for seed in SEEDS:
        query = on_the_edge(encoder, seed)
        found = counterfactual(encoder, query, supports(), edit=edit)
        assert found.minimal
        pooled, embeddings = edited_by_hand(encoder, query, found)
        torch.testing.assert_close(found.scores_at_features, scores_by_hand(encoder, pooled, embeddings))
        if found.found and edit == "remove" and len(found.cells) < 5:
            written = encoder(query[None]).trace.addends()[0].flatten(1)
            fewer = torch.tensor(list(combinations(range(16), len(found.cells) - 1)), dtype=torch.long)
            tried = encoder(query[None]).pooled[0] - written[:, fewer].sum(dim=-1).mT
            scores = scores_by_hand(encoder, tried[:, None, None], embeddings)
            assert (scores.argmax(dim=-1) == found.target).all()
        flipped += found.found
    assert flipped > 0


def test_all_cells_removed_leave_what_has_a_name():
    """What no patch wrote stays: with every cell of a class token taken away its named parts are left."""
    encoder, query = token_encoder("timm registers", "class"), token_images()
    trace = encoder(query[None]).trace
    left = encoder(query[None]).pooled - trace.addends().sum(dim=(-2, -1))
    torch.testing.assert_close(left, sum(trace.named.values()))


def test_maps_are_edited_as_before_where_they_are_pooled():
    encoder = token_encoder("timm registers", "mean")
    found = counterfactual(encoder, on_the_edge(encoder, 0), supports(), edit="remove")
    assert not found.frozen_attention
    assert "attention" not in str(found)


def test_shapes_are_as_they_are_annotated(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", False)
    encoder = token_encoder("timm registers", "class+mean")
    for edit in EDITS:
        found = counterfactual(encoder, on_the_edge(encoder, 1), supports(), edit=edit)
        assert found.mask.shape == (4, 4)


def test_float32_decides_alike():
    exact, rounded = token_encoder("timm registers", "class"), token_encoder("timm registers", "class", torch.float32)
    for seed in range(3):
        query = on_the_edge(exact, seed)
        first = counterfactual(exact, query, supports(), edit="remove")
        second = counterfactual(rounded, query.float(), supports().float(), edit="remove")
        assert first.cells == second.cells
        torch.testing.assert_close(first.scores_at_features, second.scores_at_features, rtol=1e-4, atol=1e-5)
