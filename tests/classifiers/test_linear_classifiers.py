"""Classifiers fitted on the supports: against scikit-learn and the plain loops."""

import pytest
import torch
import torch.nn.functional as F
from guide_similarity import NAMES, CorrelationWithTraits
from random_supports import supports_of
from references import cosine_classifier as reference
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

from fsl_explain.classifiers import CosineClassifier, LogisticRegression, SupportSet, decide
from fsl_explain.classifiers.linear import INTERCEPTS
from fsl_explain.similarities import SIMILARITIES

COSINE, INNER = SIMILARITIES["cosine"], SIMILARITIES["inner-product"]
SHAPES = {
    "two classes": ((2, 3), 6),
    "three classes": ((3, 1, 2), 8),
    "more supports than dimensions": ((4, 5, 3), 3),
    "two classes, more supports than dimensions": ((4, 5), 3),
}

every_shape = pytest.mark.parametrize(("shots", "channels"), SHAPES.values(), ids=SHAPES)
every_similarity = pytest.mark.parametrize("similarity", [COSINE, INNER], ids=["cosine", "inner-product"])


def queries(channels, count=5):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def samples_of(supports, similarity):
    """The real supports as the classifier sees them, and their classes."""
    samples = supports.embeddings[supports.valid]
    labels = torch.arange(len(supports.classes))[:, None].expand(supports.valid.shape)[supports.valid]
    return (F.normalize(samples, dim=-1) if similarity is COSINE else samples), labels


@every_similarity
@every_shape
def test_logistic_regression_is_that_of_scikit_learn(shots, channels, similarity):
    supports, query = supports_of(shots, channels), queries(channels)
    samples, labels = samples_of(supports, similarity)
    fitted = SklearnLogisticRegression(C=0.7, max_iter=1000).fit(samples.numpy(), labels.numpy())
    inputs = (F.normalize(query, dim=-1) if similarity is COSINE else query).numpy()
    found = LogisticRegression(inverse_penalty=0.7).class_scores(query, supports, similarity)
    margins, log_probabilities = fitted.decision_function(inputs), fitted.predict_log_proba(inputs)
    torch.testing.assert_close(found.log_softmax(dim=-1), torch.from_numpy(log_probabilities))
    logits = found[:, 1] - found[:, 0] if len(shots) == 2 else found
    torch.testing.assert_close(logits, torch.from_numpy(margins))
    assert decide(found, supports.classes).label.tolist() == fitted.predict(inputs).tolist()


@every_similarity
@every_shape
def test_the_weights_of_the_supports_reproduce_the_coefficients(shots, channels, similarity):
    """The weight vector of a class is Σ_k w_k q'_k over all supports, whatever their class."""
    supports, query = supports_of(shots, channels), queries(channels, 1)
    samples, labels = samples_of(supports, similarity)
    fitted = SklearnLogisticRegression(max_iter=1000).fit(samples.numpy(), labels.numpy())
    coefficients, intercepts = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    if len(shots) == 2:
        coefficients, intercepts = (
            torch.cat([-coefficients, coefficients]) / 2,
            torch.cat([-intercepts, intercepts]) / 2,
        )
    for c, chosen in enumerate(torch.eye(len(shots), dtype=torch.float64)):
        found = LogisticRegression().weights(chosen[None], query, supports, similarity)
        torch.testing.assert_close(found.supports[0][supports.valid] @ samples, coefficients[c])
        torch.testing.assert_close(found.constants[INTERCEPTS][0], intercepts[c])


@every_shape
def test_the_cosine_classifier_is_that_of_the_loops(shots, channels):
    supports, query = supports_of(shots, channels), queries(channels)
    real = [supports.embeddings[c][supports.valid[c]].tolist() for c in range(len(shots))]
    w = reference.fit(real, scale=5.0, steps=6, learning_rate=0.2)
    expected = [reference.scores(z, w, 5.0) for z in query.tolist()]
    found = CosineClassifier(scale=5.0, steps=6, learning_rate=0.2).class_scores(query, supports, COSINE)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@every_shape
def test_the_scores_of_a_cosine_classifier_are_weighted_cosines_to_all_supports(shots, channels):
    supports, query, rule = supports_of(shots, channels), queries(channels), CosineClassifier()
    scores = rule.class_scores(query, supports, COSINE)
    assert scores.abs().max() <= rule.scale + 1e-9
    cosines = COSINE.pairwise(query, supports.embeddings.flatten(0, 1)).unflatten(-1, supports.valid.shape)
    for c, chosen in enumerate(torch.eye(len(shots), dtype=torch.float64)):
        found = rule.weights(chosen.expand(len(query), -1), query, supports, COSINE)
        assert not found.supports[:, ~supports.valid].any()
        total = (found.supports * cosines).sum(dim=(-2, -1)) + sum(found.constants.values())
        torch.testing.assert_close(total, scores[:, c])


def test_fitting_makes_the_supports_better_known():
    supports = supports_of((4, 5, 3), 8)
    samples, labels = samples_of(supports, COSINE)
    losses = [
        float(F.cross_entropy(CosineClassifier(steps=steps).class_scores(samples, supports, COSINE), labels))
        for steps in (0, 5, 100)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[2] < losses[0] / 2


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fitting_needs_no_gradient_mode_and_leaves_no_gradient(mode):
    expected = CosineClassifier().class_scores(queries(4), supports_of((2, 2), 4), COSINE)
    assert not expected.requires_grad
    with mode():
        found = CosineClassifier().class_scores(queries(4), supports_of((2, 2), 4), COSINE)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("rule", [LogisticRegression(), CosineClassifier(steps=4)], ids=["logistic", "cosine"])
def test_one_class_is_not_enough(rule):
    with pytest.raises(ValueError, match=r"a linear classifier needs supports of at least two classes, but got one"):
        rule.class_scores(queries(4), supports_of((3,), 4), COSINE)


@pytest.mark.parametrize("rule", [LogisticRegression(), CosineClassifier(steps=4)], ids=["logistic", "cosine"])
def test_a_class_without_supports_is_left_out_of_the_fit(rule):
    whole = supports_of((2, 3), 4)
    emptied = SupportSet(whole.embeddings[[0, 0, 1]], whole.valid[[0, 0, 1]], ("a", "gone", "b"))
    emptied.valid[1] = False
    found = rule.class_scores(queries(4), emptied, COSINE)
    assert found[:, 1].isneginf().all()
    torch.testing.assert_close(found[:, [0, 2]], rule.class_scores(queries(4), whole, COSINE))


@pytest.mark.parametrize("rule", [LogisticRegression(), CosineClassifier(steps=4)], ids=["logistic", "cosine"])
def test_any_inner_product_of_transformed_embeddings_is_taken(rule):
    """Pearson's correlation, which says so of itself, is the cosine of centered embeddings."""
    supports, query = supports_of((3, 2), 5), queries(5)
    centered = SupportSet(NAMES["centered"](supports.embeddings), supports.valid, supports.classes)
    expected = rule.class_scores(NAMES["centered"](query), centered, COSINE)
    torch.testing.assert_close(rule.class_scores(query, supports, CorrelationWithTraits()), expected)
    lead = torch.tensor([[1.0, -1.0]]).double().expand(len(query), -1)
    found = rule.weights(lead, query, supports, CorrelationWithTraits())
    pairs = COSINE.pairwise(NAMES["centered"](query), centered.embeddings.flatten(0, 1)).unflatten(-1, (2, 3))
    total = (found.supports * pairs).sum(dim=(-2, -1)) + sum(found.constants.values())
    torch.testing.assert_close(total, expected[:, 0] - expected[:, 1])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LogisticRegression(inverse_penalty=0.0), "needs an inverse_penalty above 0, but got 0.0"),
        (lambda: LogisticRegression(inverse_penalty=float("nan")), "needs an inverse_penalty above 0, but got nan"),
        (lambda: CosineClassifier(scale=-1.0), "needs a finite scale above 0, but got -1.0"),
        (lambda: CosineClassifier(scale=float("inf")), "needs a finite scale above 0, but got inf"),
        (lambda: CosineClassifier(learning_rate=float("nan")), "needs a finite learning_rate above 0, but got nan"),
        (lambda: CosineClassifier(steps=-1), "needs 0 steps or more, but got -1"),
    ],
)
def test_settings_that_fit_nothing_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_without_steps_the_cosine_classifier_compares_with_the_mean_directions():
    supports, rule = supports_of((2, 3), 4), CosineClassifier(scale=5.0, steps=0)
    means = [
        F.normalize(one[valid], dim=-1).mean(0) for one, valid in zip(supports.embeddings, supports.valid, strict=True)
    ]
    expected = 5 * COSINE.pairwise(queries(4), torch.stack(means))
    torch.testing.assert_close(rule.class_scores(queries(4), supports, COSINE), expected)
