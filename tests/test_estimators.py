"""scikit-learn's own checks for every rule, and the same decisions as ``explain``."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import FewShotClassifier, explain
from fsl_explain.classifiers import RULES, CosineClassifier, DistributionCalibration, MajorityVote
from fsl_explain.registries import LOCAL_RULES, TRANSDUCTIVE_RULES

COSINE = {"cosine-classifier", "deep-emd-sfc", "frn"}
CHECKED = {
    **{name: name for name in RULES if name not in ("relation-network", "deep-emd", "deep-emd-sfc")},
    "majority-vote": MajorityVote(k=5),  # of all supports, each class has as many votes
    "cosine-classifier": CosineClassifier(steps=3),
}
ZERO_ROW = {"check_estimators_dtypes"}  # its rows of small whole numbers have a zero one, which no cosine is of
TOGETHER = {"check_methods_subset_invariance"}  # rows of one call are decided together
NOT_MET = {
    **dict.fromkeys(TRANSDUCTIVE_RULES, TOGETHER),
    **dict.fromkeys(COSINE, ZERO_ROW),
    "frn": ZERO_ROW | {"check_classifiers_train"},  # a hundred supports of two channels reconstruct every row
    "majority-vote": {"check_fit2d_1sample"},  # five neighbors of one support
}
SHOTS = {"a": 3, "b": 1, "c": 2}


def similarity_of(name):
    return "inner-product" if name == "logistic-regression" else "cosine" if name in COSINE else "euclidean"


def failed_checks(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, on_fail=None)
    assert sum(one["status"] == "passed" for one in found) > 45
    return {one["check_name"] for one in found if one["status"] == "failed"}


@pytest.mark.parametrize("name", CHECKED)
def test_every_rule_passes_the_checks_of_scikit_learn(name, monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    assert failed_checks(FewShotClassifier(CHECKED[name], similarity_of(name))) == NOT_MET.get(name, set())


def rows(count, seed, classes=3, channels=4):
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return generator.normal(size=(count, channels)) + 3 * np.eye(classes, channels)[labels], labels


def test_two_rules_are_those_that_scikit_learn_has():
    X, y = rows(40, 0)
    queries, truth = rows(25, 1)
    found = FewShotClassifier("prototype", "euclidean").fit(X, y)
    assert np.array_equal(found.predict(queries), NearestCentroid().fit(X, y).predict(queries))
    one = KNeighborsClassifier(1).fit(X, y)
    nearest = FewShotClassifier("nearest-neighbor", "euclidean").fit(X, y)
    assert np.array_equal(nearest.predict(queries), one.predict(queries))
    assert nearest.score(queries, truth) == one.score(queries, truth) > 0.8


def test_probabilities_and_the_lead_of_two_classes():
    X, y = rows(20, 0, classes=2)
    found = FewShotClassifier("mean-similarity", scale=5.0).fit(X, np.array(["no", "yes"])[y])
    lead = found.decision_function(X)
    assert lead.shape == (20,)
    np.testing.assert_allclose(found.predict_proba(X)[:, 1], 1 / (1 + np.exp(-5.0 * lead)))
    assert np.array_equal(found.predict(X) == "yes", lead > 0)
    votes = FewShotClassifier(MajorityVote(k=4)).fit(X, y).predict_proba(X)
    assert set(np.unique(votes)) <= {0, 0.25, 0.5, 0.75, 1}


def test_it_stands_in_pipelines_and_searches():
    X, y = rows(30, 0)
    pipeline = make_pipeline(StandardScaler(), FewShotClassifier())
    grid = {"fewshotclassifier__rule": ["prototype", "mean-similarity"], "fewshotclassifier__similarity": ["cosine"]}
    assert GridSearchCV(pipeline, grid, cv=2).fit(X, y).best_score_ > 0.8


@pytest.mark.parametrize("name", [name for name in RULES if name not in ("relation-network", "cosine-classifier")])
def test_with_an_encoder_it_decides_and_explains_as_explain_does(name):
    encoder, queries = tiny_encoder(random_head("linear")), images(4, seed=9)
    supports = {label: images(shots, seed=shots) for label, shots in SHOTS.items()}
    similarity = similarity_of(name)
    X = torch.cat(list(supports.values())).flip(0)
    y = [label for label, shots in SHOTS.items() for _ in range(shots)][::-1]
    supports = {label: group.flip(0) for label, group in supports.items()}
    estimator = FewShotClassifier(name, similarity, encoder=encoder)
    together = {"unlabeled": queries} if name in TRANSDUCTIVE_RULES else {}
    expected = explain(encoder, queries, supports, rule=name, similarity=similarity, **together)
    fitted = estimator.fit(X, y)
    assert fitted.predict(queries).tolist() == expected.decision.names
    found = fitted.decision_function(queries)
    torch.testing.assert_close(torch.from_numpy(found).to(expected.decision.scores), expected.decision.scores)
    why = fitted.explain(queries, method="contrast")
    against = explain(encoder, queries, supports, rule=name, similarity=similarity, method="contrast", **together)
    torch.testing.assert_close(why.cells, against.cells)
    assert why.residual.max() < 1e-9 * why.absolute_sum.max()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(queries), found)
    if name in TRANSDUCTIVE_RULES:
        given = estimator.fit(X, y, unlabeled=queries)
        np.testing.assert_allclose(given.decision_function(queries[:1]), found[:1])
        torch.testing.assert_close(given.explain(queries[:1]).cells, fitted.explain(queries).cells[:1])


@pytest.mark.parametrize("similarity", ["cosine", "mahalanobis"])
@pytest.mark.parametrize("support_scales", [None, (12, 8)], ids=["alike", "supports at sides of their own"])
def test_several_scales_are_those_of_explain(similarity, support_scales):
    encoder = tiny_encoder().at_scales((8, 12), support_scales=support_scales)
    classifier = FewShotClassifier("prototype", similarity, encoder=encoder)
    supports, queries = images(6, seed=1), images(2, seed=2)
    classifier.fit(supports, ["a", "a", "a", "b", "b", "c"])
    expected = classifier.explain(queries).decision.scores
    np.testing.assert_allclose(classifier.decision_function(queries), expected.numpy(), rtol=1e-6)


def test_local_features_need_the_encoder_that_they_come_from():
    encoder, X = tiny_encoder(random_head("linear")), images(4, seed=2)
    fitted = FewShotClassifier("dn4", encoder=encoder).fit(X, [0, 0, 1, 1])
    assert fitted.supports_.embeddings.shape[-1] > encoder(X).embedding.shape[-1]
    assert set(LOCAL_RULES) <= set(RULES)


def test_a_clone_shares_the_encoder_and_nothing_that_was_fitted():
    encoder = tiny_encoder()
    fitted = FewShotClassifier("prototype", "mahalanobis", encoder=encoder).fit(images(6, seed=0), [0, 1] * 3)
    copied = clone(fitted)
    assert copied.encoder is encoder
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "classes_")


def test_a_rule_object_and_base_classes():
    X, y = rows(9, 0)
    base, labels = rows(30, 5)
    rule = DistributionCalibration.fit(torch.from_numpy(base), torch.from_numpy(labels), samples=60)
    assert FewShotClassifier(rule, "inner-product").fit(X, y).score(*rows(30, 3)) > 0.8


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda X, y: FewShotClassifier().fit(X, y).explain(X), "needs the images and the network behind"),
        (lambda X, y: FewShotClassifier(scale=0.0).fit(X, y).predict_proba(X), "expected a scale above 0 and below"),
        (
            lambda X, y: FewShotClassifier().fit(X, y).explain(X, rule="prototype"),
            "the rule is the classifier's own",
        ),
        (lambda X, y: FewShotClassifier().predict(X), "not fitted yet"),
        (lambda X, y: FewShotClassifier().fit(X, y, unlabeled=X), "unlabeled rows are for rules such as 'bd-cspn'"),
        (lambda X, y: FewShotClassifier().fit(X * 0, y), "row 0 is zero, which has no cosine similarity"),
        (lambda X, y: FewShotClassifier("logistic-regression", "euclidean").fit(X, y), "a linear classifier takes"),
        (lambda X, y: FewShotClassifier("prototypes").fit(X, y), "did you mean 'prototype'"),
        (lambda X, y: FewShotClassifier("relation-network").fit(X, y), "give similarity=RelationNetwork"),
        (lambda X, y: FewShotClassifier(encoder=tiny_encoder()).fit(images(2), [0]), "a class for each of 2 images"),
    ],
)
def test_what_does_not_fit_is_one_sentence(ask, sentence):
    with pytest.raises((ValueError, LookupError), match=sentence):
        ask(*rows(9, 0))
