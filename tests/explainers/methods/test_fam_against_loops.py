"""FAM through the public face, held against the plain loops written from the paper."""

import pytest
import torch
from decision_parts import random_precision
from references import fam as reference
from references import pooling as slow_pooling
from references import votes
from tiny_encoder import CHANNELS, IMAGE, images, random_head, tiny_encoder
from torch import nn

from fsl_explain import explain
from fsl_explain.classifiers import RULES, KnnVote, MajorityVote
from fsl_explain.similarities import Mahalanobis

POOL = {
    "gap": slow_pooling.gap,
    "gmp": slow_pooling.gmp,
    "lse": lambda A: slow_pooling.lse(A, 10.0),
    "gem": slow_pooling.gem,
}
PRECISIONS = {torch.float64: 1e-9, torch.float32: 1e-5}

every_pooling = pytest.mark.parametrize("pooling", POOL)
every_head = pytest.mark.parametrize("head", ["none", "linear", "linear-without-bias", "linear-l2"])
every_precision = pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
every_shot = pytest.mark.parametrize("shot", [1, 3])


def slowly(encoder, query, supports, pooling, kind="cosine"):
    """Weights, cells and saliency of one query and the supports of one class."""
    features, of_supports = encoder(query[None]), encoder(supports)
    z, *pooled = [POOL[pooling](A.flatten(start_dim=-2).tolist()) for A in (*features.maps, *of_supports.maps)]
    layers = [layer for layer in encoder.head.modules() if isinstance(layer, nn.Linear)]
    if layers:
        W, b = layers[0].weight.T.tolist(), None if layers[0].bias is None else layers[0].bias.tolist()
        weights = reference.projected_weights(z, pooled, W, b, kind)
    else:
        weights = reference.contribution_weights(z, pooled, kind)
    cells = reference.feature_activation_map(weights, features.maps[0].tolist())
    return weights, cells, reference.saliency(cells, *IMAGE)


def assert_agree(found, expected, dtype):
    assert found.dtype == dtype
    expected = torch.tensor(expected, dtype=torch.float64)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=PRECISIONS[dtype] * scale)


@every_precision
@every_shot
@every_head
@every_pooling
def test_weights_cells_and_saliency_equal_the_loop_version(pooling, head, shot, dtype):
    encoder = tiny_encoder(random_head(head), pooling, dtype)
    query, supports = images(seed=3, dtype=dtype), images(2, shot, seed=4, dtype=dtype)
    assert (encoder(query[None]).embedding < 0).any() or (pooling, head) == ("gem", "none")
    for target in range(2):
        explanation = explain(encoder, query, supports, method="fam", target=target)
        weights, cells, saliency = slowly(encoder, query, supports[target], pooling)
        assert_agree(explanation.contributions, weights, dtype)
        assert_agree(explanation.cells, cells, dtype)
        assert_agree(explanation.saliency, saliency, dtype)


@pytest.mark.parametrize("kind", ["inner-product", "euclidean"])
@pytest.mark.parametrize("head", ["none", "linear"])
@every_pooling
def test_any_similarity_that_is_a_sum_over_channels_has_a_feature_activation_map(pooling, head, kind):
    encoder, query, supports = tiny_encoder(random_head(head), pooling), images(seed=3), images(2, 3, seed=4)
    explanation = explain(encoder, query, supports, method="fam", similarity=kind, target=1)
    weights, cells, saliency = slowly(encoder, query, supports[1], pooling, kind)
    assert_agree(explanation.contributions, weights, torch.float64)
    assert_agree(explanation.cells, cells, torch.float64)
    assert_agree(explanation.saliency, saliency, torch.float64)


@pytest.mark.parametrize("rule", [KnnVote(k=3), MajorityVote(k=3), RULES["nearest-neighbor"]], ids=str)
def test_only_the_neighbors_that_voted_for_the_class_are_averaged(rule):
    """Eq. 15 over the voters of the target alone: all of its other supports are as if they were not there."""
    encoder, query, supports = tiny_encoder(), images(seed=3), images(3, 4, seed=4)
    similarities = [
        [reference.cosine(z, q) for q in of_class] for z, of_class in pooled_pairs(encoder, query, supports)
    ]
    k = 1 if rule is RULES["nearest-neighbor"] else 3
    chosen = [[max(range(4), key=S.__getitem__)] for S in similarities] if k == 1 else votes.voters(similarities, k)
    explained = 0
    for target in (c for c in range(3) if chosen[c]):
        explanation = explain(encoder, query, supports, method="fam", rule=rule, target=target)
        weights, cells, _ = slowly(encoder, query, supports[target][chosen[target]], "gap")
        assert_agree(explanation.contributions, weights, torch.float64)
        assert_agree(explanation.cells, cells, torch.float64)
        every, _, _ = slowly(encoder, query, supports[target], "gap")
        assert weights != pytest.approx(every)
        explained += len(chosen[target])
    assert explained == 3


def pooled_pairs(encoder, query, supports):
    """For each class, the query's pooled values and those of the supports."""
    z = encoder(query[None]).pooled[0].tolist()
    return [(z, encoder(shots).pooled.tolist()) for shots in supports]


def test_a_mahalanobis_distance_has_no_feature_activation_map():
    sentence = r"fam needs a similarity that is a sum over channels, .* pairs of channels; use method='exact' or 'contr"
    supports = images(2, 3, seed=4)
    for similarity in ("mahalanobis", Mahalanobis(random_precision(CHANNELS))):
        with pytest.raises(ValueError, match=sentence):
            explain(tiny_encoder(), images(seed=3), supports, method="fam", similarity=similarity)


@every_pooling
def test_the_decision_is_that_of_the_loop_version(pooling):
    encoder = tiny_encoder(None, pooling)
    queries, supports = images(5, seed=5), images(3, 2, seed=6)
    decision = explain(encoder, queries, supports, method="fam").decision
    pooled = encoder(queries).pooled.tolist()
    classes = [encoder(shots).pooled.tolist() for shots in supports]
    assert decision.label.tolist() == [reference.predicted_class(z, classes) for z in pooled]
    expected = [[reference.mean_similarity(z, shots) for shots in classes] for z in pooled]
    torch.testing.assert_close(decision.scores, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_the_support_side_shows_the_same_weights_on_the_supports_of_the_target():
    encoder, query = tiny_encoder(random_head("linear")), images(seed=3)
    supports = {"a": images(3, seed=4), "b": images(2, seed=5)}
    explanation = explain(encoder, query, supports, method="fam", target="b")
    bar = reference.min_max(explanation.contributions.tolist())
    for k, A in enumerate(encoder(supports["b"]).maps):
        expected = sum(weight * channel for weight, channel in zip(bar, A, strict=True))
        torch.testing.assert_close(explanation.support_cells[1, k], expected, rtol=0, atol=1e-9)
    assert not explanation.support_cells[0].any()
    assert explanation.support_cells[1, 2].isnan().all()


def test_weights_are_not_a_split_of_the_score_and_the_residual_says_so():
    """They sum to the mean sign of the similarities, which is 1 here."""
    encoder, image = tiny_encoder(), images(seed=3)
    near = image + 0.3 * images(2, seed=4)
    explanation = explain(encoder, image, near[None], method="fam")
    assert float(explanation.contributions.sum()) == pytest.approx(1)
    assert float(explanation.residual) == pytest.approx(1 - float(explanation.score))


@pytest.mark.parametrize("head", ["mlp", "batch-norm"])
def test_a_head_that_is_not_linear_is_refused(head):
    with pytest.raises(ValueError, match=r"needs a linear head .* use method='exact' or 'contrast'"):
        explain(tiny_encoder(random_head(head)), images(seed=3), images(2, 1, seed=4), method="fam")
