"""Laws of what is seen at several scales: similarities, heads and grids side by side, each written a second time."""

import math
from dataclasses import replace

import pytest
import torch
from decision_parts import random_precision, similarities_of
from embedding_strategies import assert_equal, embeddings, quarters, shot_masks
from hypothesis import given, settings
from tiny_encoder import CHANNELS, HEADS, random_head

from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.heads import linearize
from fsl_explain.heads.finest_grid import maps_on_grid, on_grid
from fsl_explain.heads.per_scale import PerScale, per_scale
from fsl_explain.similarities import (
    SIMILARITIES,
    AtScales,
    Mahalanobis,
    Similarity,
    effective_reference,
    similarity_name,
    traits_of,
)

SIDES, WEIGHTS = (5, 7), (0.25, 0.75)
PLAIN = similarities_of(3)
EVERY = {kind: AtScales.of(one, SIDES, WEIGHTS) for kind, one in PLAIN.items()}
EVERY["two metrics"] = AtScales(
    (Mahalanobis(random_precision(3, 1)), Mahalanobis(random_precision(3, 2))), SIDES, WEIGHTS
)
SUMS = {kind: one for kind, one in EVERY.items() if traits_of(one).sums_over_channels}


def scaled(*shape):
    """Embeddings at two scales behind each other, of three channels each, none of them zero or constant."""
    return embeddings(*shape, 2, 3).map(lambda values: values.flatten(start_dim=-2))


few = settings(max_examples=20)
every_similarity = pytest.mark.parametrize("similarity", EVERY.values(), ids=EVERY)


def slow(similarity, query, gallery):
    """Σ_s a_s S_s, pair by pair, from slices."""
    rows = []
    for z in query:
        rows.append([])
        for q in gallery:
            parts = zip(similarity.similarities, WEIGHTS, (slice(0, 3), slice(3, 6)), strict=True)
            rows[-1].append(sum(a * float(one.pairwise(z[None, at], q[None, at])[0, 0]) for one, a, at in parts))
    return torch.tensor(rows, dtype=torch.float64)


@every_similarity
@few
@given(query=scaled(3), gallery=scaled(4))
def test_the_mean_over_scales_is_that_of_the_slices(similarity, query, gallery):
    expected = slow(similarity, query, gallery)
    assert isinstance(similarity, Similarity)
    assert_equal(similarity.pairwise(query, gallery), expected, 1e-11)
    form = similarity.form(query[:, None], gallery)
    assert_equal(form.value(query[:, None], gallery), expected, 1e-11)
    from_query = (query[:, None] * form.on_query(gallery)).sum(dim=-1) + form.along_support(gallery)
    from_support = (gallery * form.on_support(query[:, None])).sum(dim=-1) + form.along_query(query[:, None])
    assert_equal(from_query, expected, 1e-11)
    assert_equal(from_support, expected, 1e-11)


@pytest.mark.parametrize("similarity", SUMS.values(), ids=SUMS)
@few
@given(query=scaled(3), gallery=scaled(4))
def test_contributions_sum_to_it(similarity, query, gallery):
    pairs = query[:, None].expand(3, 4, 6), gallery[None].expand(3, 4, 6)
    assert_equal(similarity.contributions(*pairs).sum(dim=-1), slow(similarity, query, gallery), 1e-11)


@every_similarity
@few
@given(query=scaled(3), gallery=scaled(4))
def test_traits_tell_the_same(similarity, query, gallery):
    traits, expected = traits_of(similarity), slow(similarity, query, gallery)
    if traits.inner_product_of is not None:
        assert_equal(traits.inner_product_of(query) @ traits.inner_product_of(gallery).T, expected, 1e-11)
    if traits.distance_of is not None:
        difference = traits.distance_of(query)[:, None] - traits.distance_of(gallery)
        assert_equal(-difference.square().sum(dim=-1), expected, 1e-11)
    if traits.divides_by_norm:
        assert_equal(traits.transform(query).norm(dim=-1), torch.ones(3, dtype=torch.float64))


@every_similarity
@few
@given(query=scaled(2), supports=scaled(2, 3), weights=quarters(2, 2, 3), part=scaled(2))
def test_sums_over_supports_are_those_of_the_references_written_out(similarity, query, supports, weights, part):
    form = similarity.form(query[:, None, None], supports)
    references = form.on_query(supports.expand(2, 2, 3, 6))
    assert_equal(effective_reference(form, weights, supports), (weights[..., None] * references).sum(dim=(1, 2)), 1e-11)
    assert_equal(form.with_query(part, supports), (references * part[:, None, None]).sum(dim=-1), 1e-11)
    moved = form.on_support(query[:, None, None].expand(2, 2, 3, 6))
    assert_equal(form.with_supports(query, supports), (moved * supports).sum(dim=-1), 1e-11)


@every_similarity
@few
@given(left=scaled(2, 4), right=scaled(2, 5))
def test_the_table_of_pairs_sums_to_the_similarity_of_the_sums(similarity, left, right):
    query, support = left.sum(dim=1), right.sum(dim=1)
    form = similarity.form(query, support)
    assert_equal(form.table(left, right).sum(dim=(1, 2)), form.value(query, support), 1e-10)


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype"])
@every_similarity
@few
@given(query=scaled(3), supports=scaled(2, 3), valid=shot_masks(2, 3))
def test_class_scores_are_the_mean_of_those_at_each_scale(similarity, rule, query, supports, valid):
    whole = SupportSet(supports, valid, ("a", "b"))
    parts = [
        RULES[rule].class_scores(query[:, at], replace(whole, embeddings=supports[..., at]), one)
        for one, at in zip(similarity.similarities, (slice(0, 3), slice(3, 6)), strict=True)
    ]
    expected = WEIGHTS[0] * parts[0] + WEIGHTS[1] * parts[1]
    assert_equal(RULES[rule].class_scores(query, whole, similarity), expected, 1e-11)


@pytest.mark.parametrize("weights", [None, (1.0, 3.0), (0.1, 0.2), (1 / 3, 2 / 3)])
@pytest.mark.parametrize("plain", SIMILARITIES)
def test_it_is_found_again_by_its_name(plain, weights):
    made = AtScales.of(SIMILARITIES[plain], SIDES, weights)
    name = similarity_name(made)
    assert name == SIMILARITIES.name_of(made) == made.composed_name
    assert SIMILARITIES[name] == made
    assert math.isclose(sum(made.weights), 1)


@pytest.mark.parametrize("name", ["cosine@", "cosine@a,b", "kosine@5,7", "cosine@5:0,7:1", "cosine@5@7", "@5,7"])
def test_other_names_are_none_of_a_similarity(name):
    assert name not in SIMILARITIES
    with pytest.raises(LookupError, match="similarity"):
        SIMILARITIES[name]


@pytest.mark.parametrize("name", HEADS)
@few
@given(pooled=embeddings(2, 3 * CHANNELS))
def test_heads_side_by_side_are_linearized_as_each_is(name, pooled):
    """G z + b is the output, by the stages and from both ends, also where each scale has a head of its own."""
    heads = [(random_head(name, seed=seed) or torch.nn.Identity()).double() for seed in (1, 1, 2)]
    head = PerScale(heads).requires_grad_(False)
    expected = torch.cat([one(part) for one, part in zip(heads, pooled.clone().chunk(3, dim=-1), strict=True)], dim=-1)
    found = linearize(head, pooled)
    assert_equal(found.push_forward(pooled[:, None])[:, 0] + found.offset, expected, 1e-9)
    one = torch.linspace(-1, 1, expected.shape[-1], dtype=torch.float64)
    pulled = found.pull_back(one.expand_as(expected))
    assert_equal((pulled * pooled).sum(dim=-1) + (one * found.offset).sum(dim=-1), (one * expected).sum(dim=-1), 1e-9)


def test_a_head_that_keeps_the_scales_apart_is_not_wrapped_again():
    linear = torch.nn.Linear(2, 3)
    wrapped = per_scale(linear, 2)
    assert isinstance(wrapped, PerScale)
    assert list(wrapped.heads) == [linear] * 2
    assert per_scale(wrapped, 2) is wrapped
    assert isinstance(per_scale(torch.nn.Identity(), 2), torch.nn.Identity)


@pytest.mark.parametrize(("few", "many"), [((1, 1), (3, 2)), ((2, 3), (4, 6)), ((5, 5), (7, 7)), ((7, 4), (3, 5))])
def test_cells_are_brought_to_another_grid_by_area(few, many):
    """As if each were cut into pieces so small that they fit both grids."""
    cells = torch.randn(2, *few, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine = cells.repeat_interleave(many[0], dim=1).repeat_interleave(many[1], dim=2) / (many[0] * many[1])
    expected = fine.unflatten(2, (many[1], few[1])).unflatten(1, (many[0], few[0])).sum(dim=(2, 4))
    found = on_grid(cells, many)
    assert_equal(found, expected, 1e-12)
    assert_equal(found.sum(dim=(1, 2)), cells.sum(dim=(1, 2)), 1e-12)
    assert_equal(maps_on_grid(cells, many).mean(dim=(1, 2)), cells.mean(dim=(1, 2)), 1e-12)
    assert_equal(maps_on_grid(torch.ones_like(cells), many), torch.ones(2, *many, dtype=torch.float64), 1e-12)
