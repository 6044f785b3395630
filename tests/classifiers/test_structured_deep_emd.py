"""DeepEMD's structured layer: prototypes a second time, what descent does, and explanations that add up."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_encoder import images, tiny_encoder

from fsl_explain import explain, load_explanation, support_audit
from fsl_explain.classifiers import RULES, DeepEMD, StructuredDeepEMD, SupportSet, similarities_to
from fsl_explain.classifiers.local import structured_deep_emd
from fsl_explain.classifiers.local.structured_deep_emd import OTHERS
from fsl_explain.similarities import SIMILARITIES, cosine

CHANNELS, CELLS, WAY, SHOT = 8, 6, 3, 3
VALID = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
RULE = StructuredDeepEMD(CHANNELS, epochs=6)


def drawn(seed: int = 0, *, apart: float = 0.0, valid: torch.Tensor = VALID) -> tuple[torch.Tensor, SupportSet]:
    """Four queries and supports of six cells; ``apart`` moves the classes from one another."""
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(4, CHANNELS * CELLS, generator=generator, dtype=torch.float64) + 0.3
    embeddings = torch.randn(WAY, SHOT, CHANNELS * CELLS, generator=generator, dtype=torch.float64) + 0.3
    of_class = torch.randn(WAY, 1, CHANNELS * CELLS, generator=generator, dtype=torch.float64)
    return query, SupportSet(embeddings + apart * of_class, valid, ("a", "b", "c"))


def learned_slowly(rule: StructuredDeepEMD, supports: SupportSet) -> tuple[torch.Tensor, list[float]]:
    reference = pytest.importorskip("references.structured_layer")
    cells = rule.own_cells(supports.embeddings)
    groups = [list(cells[c][supports.valid[c]]) for c in range(WAY)]
    names = ("learning_rate", "epochs", "batch_size", "scale", "seed")
    found: tuple[torch.Tensor, list[float]] = reference.learned(groups, **{name: getattr(rule, name) for name in names})
    return found


@pytest.mark.parametrize(("rate", "epochs", "batch", "seed"), [(0.1, 20, 4, 0), (100.0, 6, 4, 1), (10.0, 10, 2, 2)])
def test_prototypes_are_those_of_autograd_and_single_transports(rate, epochs, batch, seed):
    _, supports = drawn()
    rule = replace(RULE, learning_rate=rate, epochs=epochs, batch_size=batch, seed=seed)
    expected, _ = learned_slowly(rule, supports)
    found = rule.learn(supports.embeddings, supports.valid).prototypes
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(found, replace(rule, epochs=0).learn(supports.embeddings, VALID).prototypes, atol=1e-3)


def test_scores_are_those_to_the_learned_prototypes():
    query, supports = drawn()
    reference = pytest.importorskip("references.structured_layer")
    prototypes, _ = learned_slowly(RULE, supports)
    expected = [[reference.score(RULE.own_cells(one), p) for p in prototypes] for one in query]
    torch.testing.assert_close(RULE.class_scores(query, supports, cosine), torch.tensor(expected).double())


@pytest.mark.parametrize("centered", [True, False])
def test_without_steps_and_of_single_shots_it_is_the_mean(centered):
    query, supports = drawn()
    plain = DeepEMD(CHANNELS, centered)
    rule = replace(RULE, centered=centered, epochs=0)
    expected = plain.class_scores(query, supports, cosine)
    torch.testing.assert_close(rule.class_scores(query, supports, cosine), expected, rtol=1e-12, atol=1e-12)
    assert not rule.weights(torch.ones(4, WAY).double(), query, supports, cosine).slopes[OTHERS].any()
    single = SupportSet(supports.embeddings[:, :1], VALID[:, :1], supports.classes)
    expected = plain.class_scores(query, single, cosine)
    found = replace(RULE, centered=centered).class_scores(query, single, cosine)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_falls_where_classes_are_apart_and_supports_stay_decided(seed):
    _, supports = drawn(seed, apart=0.5, valid=torch.ones(WAY, SHOT).bool())
    rule = replace(RULE, epochs=20, learning_rate=10.0)
    _, losses = learned_slowly(rule, supports)
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
    truth = torch.arange(WAY).repeat_interleave(SHOT)
    rows = supports.embeddings.flatten(end_dim=1)
    plain, found = (one.class_scores(rows, supports, cosine).argmax(dim=-1) for one in (DeepEMD(CHANNELS), rule))
    assert (found == truth).sum() >= (plain == truth).sum()


@pytest.mark.parametrize("centered", [True, False])
def test_supports_and_the_line_of_other_classes_sum_to_the_scores(centered):
    query, supports = drawn()
    rule = replace(RULE, centered=centered)
    of_classes = torch.randn(4, WAY, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = rule.weights(of_classes, query, supports, cosine)
    each = similarities_to(rule, query, supports, cosine)
    beside = (found.slopes[OTHERS] * query).sum(dim=-1)
    assert (beside.abs() > 1e-3).all()
    assert not each[~VALID.expand_as(each)].any()
    expected = (of_classes * rule.class_scores(query, supports, cosine)).sum(dim=-1)
    torch.testing.assert_close((found.supports * each).sum(dim=(-2, -1)) + beside, expected, rtol=1e-10, atol=1e-10)


def test_supports_of_each_query_are_learned_from_apart():
    (query, one), (_, other) = drawn(0), drawn(1)
    both = SupportSet(torch.stack([one.embeddings, other.embeddings]), VALID, one.classes)
    found = RULE.class_scores(query[:2], both, cosine)
    for at, alone in enumerate((one, other)):
        torch.testing.assert_close(found[at], RULE.class_scores(query[at], alone, cosine), rtol=1e-12, atol=1e-12)


def test_a_class_without_supports_has_no_part_in_the_descent():
    query, supports = drawn()
    kept = torch.tensor([0, 2])
    empty = SupportSet(supports.embeddings, VALID & torch.tensor([[True], [False], [True]]), supports.classes)
    fewer = SupportSet(supports.embeddings[kept], VALID[kept], ("a", "c"))
    found = RULE.class_scores(query, empty, cosine)
    assert found[:, 1].isneginf().all()
    torch.testing.assert_close(found[:, kept], RULE.class_scores(query, fewer, cosine), rtol=1e-12, atol=1e-12)


def test_one_episode_is_learned_once_and_another_seed_is_another_decision(monkeypatch):
    query, supports = drawn(7)
    structured_deep_emd._learned.cache_clear()
    first = RULE.class_scores(query, supports, cosine)
    RULE.weights(torch.ones(4, WAY).double(), query, supports, cosine)
    assert structured_deep_emd._learned.cache_info().misses == 1
    again = SupportSet(supports.embeddings.clone(), VALID.clone(), supports.classes)
    assert torch.equal(RULE.class_scores(query, again, cosine), first)
    assert structured_deep_emd._learned.cache_info().misses == 1
    assert not torch.allclose(replace(RULE, seed=1).class_scores(query, supports, cosine), first, atol=1e-9)


@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_explanations_add_up_on_either_side_and_say_what_was_learned(method, tmp_path):
    encoder, rule = tiny_encoder(), StructuredDeepEMD(epochs=5)
    found = explain(encoder, images(seed=1), images(3, 3, seed=2), method=method, rule=rule)
    assert found.receipt().residual < 1e-10
    assert float(found.cells.sum() + found.bias - found.score) == pytest.approx(0, abs=1e-10)
    assert float(found.support_cells.nansum() + found.support_bias - found.score) == pytest.approx(0, abs=1e-10)
    text = str(found.receipt())
    assert OTHERS in text
    assert f"\nfrozen: {rule.holds_frozen}" in text
    found.save(tmp_path / "why.safetensors")
    kept = load_explanation(tmp_path / "why.safetensors")
    torch.testing.assert_close(support_audit(kept).scores_without, support_audit(found).scores_without)


def test_an_audit_learns_again_without_each_support():
    encoder, query, supports = tiny_encoder(), images(seed=1), images(3, 3, seed=2)
    rule = StructuredDeepEMD(epochs=5)
    audit = support_audit(explain(encoder, query, supports, rule=rule))
    fewer = {"0": supports[0][1:], "1": supports[1], "2": supports[2]}
    expected = explain(encoder, query, fewer, rule=rule).decision.scores
    torch.testing.assert_close(audit.scores_without[0, 0], expected, rtol=1e-10, atol=1e-10)


def test_a_second_audit_learns_nothing_again(monkeypatch):
    """A page audits the explanation of each method."""
    counted, learn = [], StructuredDeepEMD.learn

    def counting(rule, *given):
        counted.append(given)
        return learn(rule, *given)

    structured_deep_emd._learned.cache_clear()
    monkeypatch.setattr(StructuredDeepEMD, "learn", counting)
    found = explain(tiny_encoder(), images(seed=1), images(3, 4, seed=2), rule=StructuredDeepEMD(epochs=1))
    for _ in range(2):
        support_audit(found)
    assert len(counted) == 1 + 3 * 4


@pytest.mark.parametrize("kind", [kind for kind in SIMILARITIES if kind != "cosine"])
def test_other_similarities_are_refused(kind):
    query, supports = drawn()
    with pytest.raises(ValueError, match="expected similarity='cosine' with deep-emd-sfc"):
        RULE.class_scores(query, supports, SIMILARITIES[kind])


@pytest.mark.parametrize(
    "options", [{"epochs": -1}, {"batch_size": 0}, {"learning_rate": 0.0}, {"scale": float("inf")}], ids=str
)
def test_numbers_that_make_no_descent_are_refused(options):
    with pytest.raises(ValueError, match="needs epochs of 0 or more, a batch_size of 1 or more, and a finite"):
        StructuredDeepEMD(**options)


def test_numbers_may_be_of_any_integer_type(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    _, supports = drawn()
    plain, other = (
        StructuredDeepEMD(CHANNELS, epochs=kind(2), batch_size=kind(3), seed=kind(5)).learn(supports.embeddings, VALID)
        for kind in (int, np.int64)
    )
    assert torch.equal(plain.prototypes, other.prototypes)
    with pytest.raises(TypeError, match=r"expected epochs as a whole number, but got 1\.5"):
        StructuredDeepEMD(epochs=1.5)
    with pytest.raises(ValueError, match="StructuredDeepEMD needs cells of at least 1 channel, but got 0"):
        StructuredDeepEMD(channels=0)


def test_its_name_and_the_published_settings():
    rule = RULES["deep-emd-sfc"]
    assert rule == StructuredDeepEMD()
    settings = (rule.epochs, rule.learning_rate, rule.batch_size, rule.scale, rule.centered)
    assert settings == (100, 100.0, 4, 12.5, True)
