"""BD-CSPN, LaplacianShot and distribution calibration: a second writing, receipts, and what they refuse."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from decision_parts import QUICK_RULES, similarities_of
from references import transductive as reference
from sklearn.linear_model import LogisticRegression
from tiny_encoder import HEADS, images, random_head, tiny_encoder

from fsl_explain import Explanation, correspondence, counterfactual, explain, support_audit
from fsl_explain.classifiers import (
    BDCSPN,
    RULES,
    DistributionCalibration,
    LaplacianShot,
    SupportSet,
    needs_unlabeled,
)
from fsl_explain.classifiers.transductive.laplacian_shot import NEIGHBORS
from fsl_explain.classifiers.transductive.shifted_prototypes import SHIFT, UNLABELED
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.registries import TRANSDUCTIVE_RULES
from fsl_explain.similarities import SIMILARITIES

KINDS = ("cosine", "inner-product", "euclidean")
SHOTS, CHANNELS = (3, 1, 2), 6
QUERIES, SUPPORTS = (
    images(2, seed=1),
    {name: images(shots, seed=shots) for name, shots in zip("abc", SHOTS, strict=True)},
)
TOGETHER = torch.cat([QUERIES, images(4, seed=9)])
RULES_ASKED = {
    **{name: QUICK_RULES[name] for name in TRANSDUCTIVE_RULES},
    "bd-cspn of the confident": BDCSPN(epsilon=2.0, confident=1, shifts_queries=False),
    "laplacian-shot rectified": LaplacianShot(regularization=2.0, neighbors=1, rectified=True),
}
every_rule = pytest.mark.parametrize("name", RULES_ASKED)


def episode(seed, unlabeled=7):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(3, 3, CHANNELS, generator=generator, dtype=torch.float64)
    valid = torch.arange(3) < torch.tensor(SHOTS)[:, None]
    together = torch.randn(unlabeled, CHANNELS, generator=generator, dtype=torch.float64) + 0.5
    supports = SupportSet(embeddings, valid, ("a", "b", "c"), None, together)
    return supports, [embeddings[c][valid[c]].tolist() for c in range(3)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("confident", [None, 1])
@pytest.mark.parametrize("shifts", [True, False])
def test_bd_cspn_equals_the_loops(seed, kind, confident, shifts):
    supports, classes = episode(seed)
    centers = reference.rectified(classes, supports.unlabeled.tolist(), 3.0, confident)
    shift = reference.shift_of(classes, supports.unlabeled.tolist())
    rule = BDCSPN(epsilon=3.0, confident=confident, shifts_queries=shifts)
    found = rule.class_scores(supports.unlabeled, supports, SIMILARITIES[kind])
    moved = supports.unlabeled + (torch.tensor(shift, dtype=torch.float64) if shifts else 0)
    expected = [[reference.SIMILARITIES[kind](image, center) for center in centers] for image in moved.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rectified", "steps"), [(False, 20), (True, 20), (False, 1), (False, 2)])
def test_laplacian_shot_equals_the_loops(seed, kind, rectified, steps):
    supports, classes = episode(seed)
    together = supports.unlabeled.tolist()
    centers = reference.rectified(classes, together, 3.0) if rectified else [reference.mean(group) for group in classes]
    rule = LaplacianShot(regularization=1.5, iterations=steps, rectified=rectified, epsilon=3.0)
    found = rule.class_scores(supports.unlabeled, supports, SIMILARITIES[kind])
    expected = reference.laplacian(together, centers, kind, 1.5, 2, steps)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_a_query_that_is_none_of_the_unlabeled_images_has_all_of_them_as_neighbors():
    supports, _ = episode(0, unlabeled=2)
    rule, euclidean = LaplacianShot(regularization=1.0), SIMILARITIES["euclidean"]
    alone = RULES["prototype"]
    apart = supports.unlabeled[:1] + 0.3
    for query, votes in ((apart, 2.0), (supports.unlabeled[:1], 1.0), (supports.unlabeled[:1] * (1 + 1e-7), 1.0)):
        say = rule.class_scores(query, supports, euclidean) - alone.class_scores(query, supports, euclidean)
        assert float(say.sum()) == pytest.approx(votes)


@every_rule
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["exact", "contrast", "log-probability"])
def test_receipts_add_up_and_what_unlabeled_images_add_has_a_line(name, kind, method):
    encoder, rule = tiny_encoder(random_head("mlp")), RULES_ASKED[name]
    found = explain(encoder, QUERIES, SUPPORTS, method=method, rule=rule, similarity=kind, unlabeled=TOGETHER)
    assert (found.residual < 1e-10 * found.absolute_sum).all()
    receipt = found[0].receipt()
    assert receipt.residual < 1e-10 * receipt.absolute_sum
    lines = dict(found.constants)
    if isinstance(rule, BDCSPN):
        assert lines[UNLABELED].abs().min() > 0
        assert (SHIFT in lines) == rule.shifts_queries
    else:
        assert NEIGHBORS in lines
        assert (UNLABELED in lines) == rule.rectified


@every_rule
def test_every_face_asks_the_same_decision(name):
    encoder, rule = tiny_encoder(random_head("linear")), RULES_ASKED[name]
    options = {"rule": rule, "method": "contrast", "unlabeled": TOGETHER}
    found = explain(encoder, QUERIES, SUPPORTS, **options)
    by_embeddings = explain(encoder, QUERIES, SUPPORTS, **{**options, "unlabeled": encoder(TOGETHER).embedding})
    torch.testing.assert_close(by_embeddings.cells, found.cells)
    alone = explain(encoder, QUERIES[0], SUPPORTS, **options)
    torch.testing.assert_close(alone.cells, found[0].cells, rtol=1e-9, atol=1e-9)
    table = sum(
        correspondence(alone, label=c, shot=k).table.sum() for c, k in (~alone.similarities.isnan()).nonzero().tolist()
    )
    constants = sum(float(value) for value in alone.constants.values())
    assert float(table) + constants == pytest.approx(float(alone.score))
    again = (copy.copy(alone), pickle.loads(pickle.dumps(alone)))
    audit = support_audit(alone)
    for other in again:
        torch.testing.assert_close(support_audit(other).leads_without, audit.leads_without, equal_nan=True)
    edit = counterfactual(encoder, QUERIES[0], SUPPORTS, rule=rule, unlabeled=TOGETHER)
    assert edit.target == int(alone.decision.label)


def test_the_support_audit_rectifies_again_and_survives_a_file(tmp_path):
    encoder = tiny_encoder(random_head("linear"))
    found = explain(encoder, QUERIES[0], SUPPORTS, rule="bd-cspn", unlabeled=TOGETHER)
    found.save(tmp_path / "why.safetensors")
    audit = support_audit(Explanation.load(tmp_path / "why.safetensors"))
    fewer = {**SUPPORTS, "a": SUPPORTS["a"][1:]}
    expected = explain(encoder, QUERIES[0], fewer, rule="bd-cspn", unlabeled=TOGETHER).decision.scores
    torch.testing.assert_close(audit.scores_without[0, 0], expected)


def calibrated(seed=3, **options):
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(40, CHANNELS, generator=generator, dtype=torch.float64)
    return DistributionCalibration.fit(base, torch.arange(40) % 4, **options), base


def test_distribution_calibration_is_what_scikit_learn_fits_on_the_drawn_samples():
    supports, classes = episode(1)
    rule, base = calibrated(samples=30, k=2)
    rows, labels = [], []
    for label, group in enumerate(classes):
        for shot, support in enumerate(group):
            far = [np.linalg.norm(np.array(support) - base[at::4].numpy().mean(axis=0)) for at in range(4)]
            near = np.argsort(far)[:2]
            center = (sum(base[at::4].numpy().mean(axis=0) for at in near) + np.array(support)) / 3
            spread = sum(np.cov(base[at::4].numpy().T) for at in near) / 2 + 0.21
            drawn = np.random.default_rng((0, label, shot)).multivariate_normal(center, spread, 30 // len(group))
            rows += [support, *drawn]
            labels += [label] * (1 + len(drawn))
    fitted = LogisticRegression(max_iter=1000).fit(np.array(rows), labels)
    found = rule.class_scores(supports.unlabeled, supports, SIMILARITIES["inner-product"])
    expected = fitted.decision_function(supports.unlabeled.numpy())
    torch.testing.assert_close(found - found.mean(-1, True), torch.from_numpy(expected), rtol=1e-3, atol=1e-3)
    assert found.argmax(dim=-1).tolist() == fitted.predict(supports.unlabeled.numpy()).tolist()


@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_the_receipt_of_distribution_calibration_has_supports_samples_and_intercepts(method):
    encoder = tiny_encoder(random_head("power-l2"))
    base = encoder(images(12, seed=40)).embedding
    rule = DistributionCalibration.fit(base, torch.arange(12) % 3, samples=30)
    found = explain(encoder, QUERIES, SUPPORTS, rule=rule, similarity="inner-product", method=method)
    assert (found.residual < 1e-10 * found.absolute_sum).all()
    assert list(found.constants) == ["intercepts of the classifier", "samples of the calibrated distributions"]
    assert found[0].receipt().residual < 1e-10 * found[0].receipt().absolute_sum


def test_the_table_says_which_rules_look_at_all_images_together():
    assert [name for name, rule in RULES.items() if needs_unlabeled(rule)] == list(TRANSDUCTIVE_RULES)


@pytest.mark.parametrize("name", TRANSDUCTIVE_RULES)
def test_what_does_not_fit_is_one_sentence(name):
    encoder = tiny_encoder(random_head("linear"))
    with pytest.raises(ValueError, match=r"decides all images of an episode together, .* give explain\(…, unlabeled"):
        explain(encoder, QUERIES, SUPPORTS, rule=name)
    with pytest.raises(ValueError, match=r"decides each query alone; drop unlabeled"):
        explain(encoder, QUERIES, SUPPORTS, unlabeled=TOGETHER)
    with pytest.raises(ValueError, match=r"expected embeddings \(shot, 3\)"):
        explain(encoder, QUERIES, SUPPORTS, rule=name, unlabeled=torch.ones(4, 5))
    supports, _ = episode(0)
    with pytest.raises(ValueError, match="decides all images of an episode together"):
        RULES[name].class_scores(supports.unlabeled, replace(supports, unlabeled=None), SIMILARITIES["cosine"])


def test_what_unlabeled_images_add_is_not_integrated():
    encoder, choice = tiny_encoder(random_head("linear")), {"unlabeled": TOGETHER, "method": "integrated-gradients"}
    with pytest.raises(ValueError, match="integrated-gradients integrates similarities to supports"):
        explain(encoder, QUERIES, SUPPORTS, rule="bd-cspn", **choice)
    found = explain(encoder, QUERIES, SUPPORTS, rule="laplacian-shot", similarity="euclidean", **choice)
    assert found[0].receipt().residual < 0.05 * found[0].receipt().absolute_sum


@pytest.mark.parametrize("head", HEADS)
def test_receipts_add_up_behind_every_head_for_every_similarity(head, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # shapes of the same calls are checked elsewhere
    compared = compare(tiny_encoder(random_head(head)), QUERIES, SUPPORTS, unlabeled=TOGETHER)
    for rule in RULES_ASKED.values():
        for similarity in similarities_of(compared.features.embedding.shape[-1]).values():
            found = explain_compared(compared, "contrast", Choice(rule, similarity))
            assert (found.residual <= 1e-10 * found.absolute_sum).all()
            sides = found.support_cells.nansum((-4, -3, -2, -1)) + found.support_bias
            torch.testing.assert_close(sides, found.score, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: BDCSPN(epsilon=-1.0), "epsilon of at least 0"),
        (lambda: BDCSPN(confident=0), "at least 1 confident image"),
        (lambda: LaplacianShot(regularization=-1.0), "regularization of at least 0"),
        (lambda: LaplacianShot(neighbors=0), "at least 1 neighbor"),
        (lambda: LaplacianShot(epsilon=-1.0), "LaplacianShot needs a finite epsilon of at least 0"),
        (lambda: calibrated(k=9), "expected k from 1 to the 4 base classes"),
        (lambda: DistributionCalibration.fit(torch.ones(3, 2), torch.arange(3)), "at least two images"),
        (lambda: DistributionCalibration.fit(torch.ones(0, 2), torch.arange(0)), "got 0 embeddings and 0 labels"),
        (
            lambda: DistributionCalibration.fit(torch.full((4, 2), torch.inf), torch.arange(4) % 2),
            "expected finite emb",
        ),
        (lambda: calibrated(samples=-1), "samples and a seed of at least 0, but got 0.21, -1 and 0"),
        (lambda: replace(calibrated()[0], seed=-1), "samples and a seed of at least 0, but got 0.21, 750 and -1"),
        (lambda: calibrated(alpha=torch.inf), "needs a finite alpha, .* but got inf"),
        (lambda: calibrated(inverse_penalty=0.0), "an inverse_penalty above 0, but got 0.0"),
    ],
)
def test_settings_that_cannot_be(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_every_base_embedding_has_a_label(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(ValueError, match="got 3 embeddings and 2 labels; give as many"):
        DistributionCalibration.fit(torch.ones(3, 2), torch.arange(2))
