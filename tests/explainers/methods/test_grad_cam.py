"""Grad-CAM of a similarity: against autograd by hand, and against the exact map."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from tiny_encoder import IMAGE, images, random_head, tiny_encoder, width_of

from fsl_explain import explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.methods.grad_cam import channel_gradients
from fsl_explain.heads import POOLINGS
from fsl_explain.traces import weighted_sum

HEADS = ["none", "linear", "linear-l2", "mlp", "gelu-mlp", "batch-norm", "layer-norm"]
SUPPORTS = {"a": images(2, seed=61), "b": images(3, seed=62), "c": images(1, seed=63)}
TARGET = "b"


def before_the_relu(explanation):
    """The map of Grad-CAM, negative part and all."""
    question = explanation.question
    return weighted_sum(question.query.maps, channel_gradients(question))


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "nearest-neighbor"])
@pytest.mark.parametrize("head", ["none", "linear", "linear-without-bias", "l2", "linear-l2", "mlp", "leaky-mlp"])
def test_of_a_cosine_it_is_the_exact_map_less_the_score_times_the_self_similarity_map(head, rule):
    """With average pooling, before its ReLU; the self-similarity map explains the query against itself."""
    encoder, query = tiny_encoder(random_head(head)), images(seed=60)
    exact = explain(encoder, query, SUPPORTS, method="exact", rule=rule, target=TARGET)
    of_itself = explain(encoder, query, query[None, None])
    assert float(of_itself.score) == pytest.approx(1)
    expected = exact.cells - exact.score * of_itself.cells
    torch.testing.assert_close(before_the_relu(exact), expected, rtol=0, atol=1e-10)
    grad_cam = explain(encoder, query, SUPPORTS, method="grad-cam", rule=rule, target=TARGET)
    torch.testing.assert_close(grad_cam.cells, expected.clamp(min=0), rtol=0, atol=1e-10)
    assert expected.abs().max() > 1e-4


def mean_cosine(z, embedded):
    return torch.stack([F.cosine_similarity(z, q, dim=0) for q in embedded[TARGET]]).mean()


def distance_to_the_prototype(z, embedded):
    return -((z - embedded[TARGET].mean(dim=0)) ** 2).sum()


def log_vote(z, embedded):
    """All six supports vote."""
    return torch.stack([(z @ q / 0.5).exp() for q in embedded[TARGET]]).sum().log()


def logit(z, embedded):
    samples, labels = torch.cat(list(embedded.values())), [0, 0, 1, 1, 1, 2]
    fitted = SklearnLogisticRegression(max_iter=1000).fit(samples.numpy(), labels)
    return z @ torch.from_numpy(fitted.coef_[1]) + float(fitted.intercept_[1])


BY_HAND = {
    "mean cosine": (mean_cosine, "mean-similarity", "cosine"),
    "distance to the prototype": (distance_to_the_prototype, "prototype", "euclidean"),
    "log vote": (log_vote, KnnVote(k=6, temperature=0.5), "inner-product"),
    "logit": (logit, "logistic-regression", "inner-product"),
}


@pytest.mark.parametrize(("score", "rule", "similarity"), BY_HAND.values(), ids=BY_HAND)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_equals_autograd_by_hand(pooling, head, score, rule, similarity):
    encoder, query = tiny_encoder(random_head(head, width_of(pooling)), pooling), images(seed=60)
    embedded = {name: encoder(shots).embedding for name, shots in SUPPORTS.items()}
    maps = encoder(query[None]).maps.clone().requires_grad_()
    logits = score(encoder.head(POOLINGS[pooling](maps))[0], embedded)
    (gradient,) = torch.autograd.grad(logits, maps)
    weights = gradient[0].mean(dim=(1, 2))
    map_ = (weights[:, None, None] * maps.detach()[0]).sum(dim=0).relu()
    found = explain(encoder, query, SUPPORTS, method="grad-cam", rule=rule, similarity=similarity, target=TARGET)
    torch.testing.assert_close(found.score, logits.detach())
    torch.testing.assert_close(found.contributions, weights)
    torch.testing.assert_close(found.cells, map_)
    enlarged = F.interpolate(map_[None, None], size=IMAGE, mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(found.saliency, enlarged / enlarged.max() if map_.any() else enlarged)


def test_a_map_without_a_positive_part_is_zero():
    """A query that is its own support: the cosine is at its largest, and no cell can raise it."""
    encoder, query = tiny_encoder(), images(seed=60)
    found = explain(encoder, query, query[None, None], method="grad-cam")
    torch.testing.assert_close(found.cells, torch.zeros(3, 4, dtype=torch.float64), rtol=0, atol=1e-12)
    assert not found.support_cells.any()
    assert not found.signed


def test_parameters_gradients_and_mode_are_left_alone():
    encoder = tiny_encoder(random_head("linear"))
    encoder.head.train()
    before = [parameter.clone() for parameter in encoder.head.parameters()]
    explain(encoder, images(2, seed=60), SUPPORTS, method="grad-cam")
    assert encoder.head.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in encoder.head.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.head.parameters(), strict=True))
