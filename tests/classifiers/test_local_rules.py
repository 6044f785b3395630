"""Decisions over local features: scores a second time, frozen pairs, what supports and options say."""

import pytest
import torch
from references import local_rules as reference
from tiny_encoder import images, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import (
    DN4,
    FRN,
    RULES,
    DeepEMD,
    LocalRule,
    MaxSim,
    SupportSet,
    form_of,
    is_local,
    similarities_to,
)
from fsl_explain.registries import LEARNED_LOCAL_RULES, LOCAL_RULES
from fsl_explain.report.receipt import receipt
from fsl_explain.similarities import SIMILARITIES, PairForm, cosine

CHANNELS, CELLS, OTHER_CELLS, WAY, SHOT = 4, 6, 5, 3, 3
VALID = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
every_rule = pytest.mark.parametrize("name", LOCAL_RULES)
PAIRS = [(name, kind) for name in LOCAL_RULES for kind in SIMILARITIES if name != "frn" or kind == "cosine"]
every_pair = pytest.mark.parametrize(("name", "kind"), PAIRS)


def rule_of(name: str) -> LocalRule:
    rule = RULES[name]
    assert isinstance(rule, LocalRule)
    return rule.of_channels(CHANNELS)


def drawn(seed: int = 0, *, batch: tuple[int, ...] = (2,), own: bool = False) -> tuple[torch.Tensor, SupportSet]:
    """Queries of six cells and supports of five, positive in part, padded."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(*batch, CHANNELS * CELLS, generator=generator, dtype=torch.float64) + 0.3
    shape = (*(batch if own else ()), WAY, SHOT, CHANNELS * OTHER_CELLS)
    embeddings, leading = torch.randn(shape, generator=generator, dtype=torch.float64) + 0.3, shape[:-3]
    return query, SupportSet(embeddings, VALID.expand(*leading, WAY, SHOT), ("a", "b", "c"))


def cells(values: torch.Tensor) -> list[list[float]]:
    return values.reshape(CHANNELS, -1).T.tolist()


def groups(supports: SupportSet, at: int) -> list[list[list[list[float]]]]:
    embeddings = supports.embeddings if supports.embeddings.dim() == 3 else supports.embeddings[at]
    return [[cells(one) for one in embeddings[c][VALID[c]]] for c in range(WAY)]


@every_pair
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_scores_are_those_of_loops(name, kind, own):
    query, supports = drawn(own=own)
    found = rule_of(name).class_scores(query, supports, SIMILARITIES[kind])
    slow = [
        [reference.RULES[name](cells(z), group, reference.SIMILARITIES[kind]) for group in groups(supports, i)]
        for i, z in enumerate(query)
    ]
    torch.testing.assert_close(found, torch.tensor(slow, dtype=torch.float64), rtol=1e-8, atol=1e-9)


@every_rule
def test_supports_that_queries_share_score_as_copies_of_them(name):
    """Here with more channels than a class has cells, where a regression is over cells."""
    generator, rule = torch.Generator().manual_seed(0), RULES[name].of_channels(64)
    query = torch.randn(5, 64 * 4, generator=generator, dtype=torch.float64) + 0.3
    embeddings = torch.randn(WAY, SHOT, 64 * 3, generator=generator, dtype=torch.float64) + 0.3
    shared = SupportSet(embeddings, VALID, ("a", "b", "c"))
    own = SupportSet(embeddings.expand(5, -1, -1, -1), VALID.expand(5, -1, -1), ("a", "b", "c"))
    found = rule.class_scores(query, shared, cosine)
    torch.testing.assert_close(found, rule.class_scores(query, own, cosine), rtol=1e-12, atol=1e-12)
    assert len(found.unique(dim=0)) == 5


@every_pair
def test_what_supports_add_sums_to_the_score_of_their_class(name, kind):
    query, supports = drawn(own=True)
    rule, similarity = rule_of(name), SIMILARITIES[kind]
    found = similarities_to(rule, query, supports, similarity)
    assert not found[~VALID.expand_as(found)].any()
    torch.testing.assert_close(
        found.sum(dim=-1), rule.class_scores(query, supports, similarity), rtol=1e-12, atol=1e-12
    )


@every_pair
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_a_form_says_the_same_in_every_way(name, kind, own):
    """Each method against the derivative of the value, by autograd, with the weights of pairs held fixed."""
    query, supports = drawn(own=own)
    rule, similarity = rule_of(name), SIMILARITIES[kind]
    form = form_of(rule, query, supports, similarity)
    assert isinstance(form, PairForm)
    one, other = query[..., None, None, :].clone().requires_grad_(), supports.embeddings.clone().requires_grad_()
    value = form.value(one, other)
    torch.testing.assert_close(value, similarities_to(rule, query, supports, similarity), rtol=1e-12, atol=1e-12)
    weights = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    by_query, by_support = torch.autograd.grad((weights * value).sum(), (one, other))
    torch.testing.assert_close(form.reference(weights, supports.embeddings), by_query[..., 0, 0, :])
    summed = weights[..., None] * form.on_support(query[..., None, None, :])
    torch.testing.assert_close(summed if own else summed.sum(dim=0), by_support)
    along = form.along_support(supports.embeddings)
    torch.testing.assert_close(form.with_query(query, supports.embeddings) + along, value)
    beside = form.along_query(query[..., None, None, :])
    torch.testing.assert_close(form.with_supports(query, supports.embeddings) + beside, value)


@every_pair
def test_a_table_sums_to_the_value_and_its_rows_to_the_cells(name, kind):
    query, supports = drawn(own=True)
    form = form_of(rule_of(name), query, supports, SIMILARITIES[kind])
    left = cells_apart(query)[..., None, None, :, :]
    right = cells_apart(supports.embeddings)
    table = form.table(left, right)
    assert table.shape[-2:] == (CELLS + 1, OTHER_CELLS + 1)
    value = form.value(query[..., None, None, :], supports.embeddings)
    torch.testing.assert_close(table.sum(dim=(-2, -1)), value, rtol=1e-12, atol=1e-12)
    held = (left[..., :-1, :] * form.on_query(supports.embeddings)[..., None, :]).sum(dim=-1)
    placed = form.at_cells(supports.embeddings)
    rows = held if placed is None else held + placed.sum(dim=-1)
    torch.testing.assert_close(table[..., :-1, :].sum(dim=-1), rows, rtol=1e-12, atol=1e-12)
    columns = (right[..., :-1, :] * form.on_support(query[..., None, None, :])[..., None, :]).sum(dim=-1)
    torch.testing.assert_close(table[..., :-1].sum(dim=-2), columns, rtol=1e-12, atol=1e-12)
    some = (slice(1, 2), slice(0, 1))
    chosen = form.at(some).table(left, right[:, 1:2, 0:1])
    torch.testing.assert_close(chosen, table[:, 1:2, 0:1], rtol=1e-12, atol=1e-12)


def cells_apart(values: torch.Tensor) -> torch.Tensor:
    """Each cell alone in its place, and zeros at the end, as an embedding is a sum over cells and a bias."""
    by_cell = values.unflatten(-1, (CHANNELS, -1))
    apart = torch.diag_embed(by_cell).movedim(-1, -3).flatten(start_dim=-2)
    return torch.cat([apart, torch.zeros_like(apart[..., :1, :])], dim=-2)


@every_rule
def test_the_order_of_cells_tells_nothing(name):
    query, supports = drawn()
    order = torch.randperm(CELLS, generator=torch.Generator().manual_seed(3))
    moved = query.unflatten(-1, (CHANNELS, -1))[..., order].flatten(start_dim=-2)
    rule = rule_of(name)
    expected = rule.class_scores(query, supports, cosine)
    torch.testing.assert_close(rule.class_scores(moved, supports, cosine), expected, rtol=1e-10, atol=1e-12)


@every_rule
def test_gradients_by_the_frozen_weights_are_those_of_the_score(name):
    """Pairs that are chosen (max-sim, dn4) may be held fixed; what cells weigh in a flow (deep-emd) and the weights
    of a regression (frn) move with the query, so that the frozen ones are another number, as the receipt says."""
    query, supports = drawn()
    rule, moving = rule_of(name), drawn()[0].requires_grad_()
    (true,) = torch.autograd.grad(rule.class_scores(moving, supports, SIMILARITIES["inner-product"]).sum(), moving)
    form = form_of(rule, query, supports, SIMILARITIES["inner-product"])
    frozen = form.reference(VALID.double().expand(2, WAY, SHOT), supports.embeddings)
    assert torch.allclose(true, frozen, atol=1e-9) == (name in ("max-sim", "dn4"))


def test_frn_cells_are_their_own_errors():
    query, supports = drawn()
    form = form_of(rule_of("frn"), query, supports, cosine)
    assert isinstance(form, PairForm)
    placed = form.at_cells(supports.embeddings)
    assert placed is not None
    held = (query[:, None, None] * form.on_query(supports.embeddings)).unflatten(-1, (CHANNELS, -1)).mT
    cells_of_class = (held + placed).sum(dim=(-3, -1))
    for at in range(WAY):
        pool = torch.cat([supports.embeddings[at, k].reshape(CHANNELS, -1).T for k in range(SHOT) if VALID[at, k]])
        ridge = len(pool) / CHANNELS + 1e-6
        hat = torch.linalg.inv(pool.T @ pool + ridge * torch.eye(CHANNELS).double()) @ pool.T @ pool
        ours = query.unflatten(-1, (CHANNELS, -1)).mT
        errors = -(ours @ hat - ours).square().sum(dim=-1) / CELLS
        torch.testing.assert_close(cells_of_class[:, at], errors, rtol=1e-10, atol=1e-12)


@every_pair
def test_cells_of_zeros_are_like_none_and_add_nothing_undefined(name, kind):
    """Behind a ReLU whole cells are 0, in the query, in a support, and in all supports of a class."""
    query, supports = drawn()
    query.unflatten(-1, (CHANNELS, -1))[..., 2] = 0
    supports.embeddings.unflatten(-1, (CHANNELS, -1))[..., 1] = 0
    rule, similarity = rule_of(name), SIMILARITIES[kind]
    form, scores = form_of(rule, query, supports, similarity), rule.class_scores(query, supports, similarity)
    assert form.reference(VALID.double().expand(2, WAY, SHOT), supports.embeddings).isfinite().all()
    values = form.value(query[..., None, None, :], supports.embeddings)
    torch.testing.assert_close(values.sum(dim=-1), scores, rtol=1e-12, atol=1e-12)


def test_a_class_without_supports_scores_minus_infinity():
    query, supports = drawn()
    empty = SupportSet(supports.embeddings, VALID & torch.tensor([[True], [False], [True]]), supports.classes)
    for name in LOCAL_RULES:
        assert rule_of(name).class_scores(query, empty, cosine).isneginf().tolist() == [[False, True, False]] * 2


def test_queries_go_through_in_parts(monkeypatch):
    query, supports = drawn(batch=(5,))
    whole = rule_of("dn4").class_scores(query, supports, cosine)
    monkeypatch.setattr("fsl_explain.classifiers.local.rule.AT_ONCE", 1)
    torch.testing.assert_close(rule_of("dn4").class_scores(query, supports, cosine), whole, rtol=1e-13, atol=1e-13)


def test_one_neighbor_of_one_shot_is_max_sim():
    query, supports = drawn()
    one = SupportSet(supports.embeddings[:, :1], VALID[:, :1], supports.classes)
    expected = MaxSim(CHANNELS).class_scores(query, one, cosine)
    torch.testing.assert_close(DN4(CHANNELS, neighbors=1).class_scores(query, one, cosine), expected)


def test_frn_does_not_change_with_a_divisor_that_its_ridge_makes_up_for():
    """Features and their products divided alike: λ belongs to the divided features."""
    query, supports = drawn()
    divided = SupportSet(supports.embeddings / 5, VALID, supports.classes)
    plain = FRN(CHANNELS, divisor=1.0).class_scores(query / 5, divided, cosine)
    torch.testing.assert_close(FRN(CHANNELS, divisor=5.0).class_scores(query, supports, cosine), plain)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DN4(neighbors=0), "at least one neighbor"),
        (lambda: MaxSim(0), "MaxSim needs cells of at least 1 channel, but got 0"),
        (lambda: DN4(CHANNELS).of_channels(-1), "DN4 needs cells of at least 1 channel, but got -1"),
        (lambda: FRN(0), "FRN needs cells of at least 1 channel"),
        (lambda: FRN(scale=-1.0), "a scale and a divisor above 0"),
        (lambda: FRN(alpha=float("nan")), "finite alpha"),
        (lambda: FRN(beta=1000.0), "an alpha and a beta of at most 700, which are exponents, but got 0.0 and 1000.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_channels_that_do_not_fit_are_refused():
    query, supports = drawn()
    with pytest.raises(ValueError, match="are no multiple of that; use an encoder with pooling='flatten'"):
        MaxSim(7).class_scores(query, supports, cosine)


def test_embeddings_that_are_no_numbers_have_no_transport():
    query, supports = drawn()
    with pytest.raises(ValueError, match="expected finite embeddings for the transport of deep-emd"):
        rule_of("deep-emd").class_scores(query * torch.nan, supports, cosine)


def test_without_pot_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    query, supports = drawn()
    with pytest.raises(ValueError, match=r"pip install 'fsl-explain\[deep-emd\]'"):
        rule_of("deep-emd").class_scores(query, supports, cosine)


@every_rule
def test_a_receipt_names_what_is_frozen(name):
    found = explain(tiny_encoder(), images(seed=1), images(3, 2, seed=2), rule=name)
    frozen = RULES[name].holds_frozen
    assert f"\nfrozen: {frozen}" in str(found.receipt())
    assert ("frozen", frozen) in receipt(found).lines
    assert "frozen" not in str(explain(tiny_encoder(), images(seed=1), images(3, 2, seed=2)).receipt())


def test_which_rules_are_local():
    assert [name for name, rule in RULES.items() if is_local(rule)] == [*LOCAL_RULES, *LEARNED_LOCAL_RULES]


def test_costs_below_zero_are_solved_as_any_others():
    """All inner products are above 1, so that all costs are negative, which the solver alone calls infeasible."""
    query, supports = drawn()
    alike = SupportSet(supports.embeddings.abs() + 1, VALID, supports.classes)
    rule = DeepEMD(CHANNELS, centered=False)
    for scale in (1.0, 2.0, 4.0):
        found = rule.class_scores(scale * (query.abs() + 1), alike, SIMILARITIES["inner-product"])
        assert (found > scale).all()
