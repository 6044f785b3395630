"""Score-CAM, Ablation-CAM and occlusion against plain loops that ask explain() for the score of each altered query."""

import dataclasses

import pytest
import torch
from decision_parts import OF_WHOLES, PAIRS, QUICK_RULES
from references import perturbations as reference
from tiny_encoder import CHANNELS, IMAGE, images, random_head, tiny_encoder

from fsl_explain import OcclusionOptions, explain, occlusion_method
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.methods.named import METHODS, find_method
from fsl_explain.explainers.methods.occlusion import hidden_pixels, window_corners
from fsl_explain.heads.pooling import GlobalAveragePooling

SUPPORTS = {"a": images(3, seed=2), "b": images(1, seed=3), "c": images(2, seed=4)}
TARGET = 1
every_rule = pytest.mark.parametrize(("rule", "similarity"), PAIRS, ids=map("-".join, PAIRS))


def scorer(encoder, rule="mean-similarity", similarity="cosine"):
    """The score of an image of nested lists, by the whole road of explain()."""

    def score(image):
        query = torch.tensor(image, dtype=torch.float64)
        return float(
            explain(
                encoder, query, SUPPORTS, method="exact", rule=QUICK_RULES[rule], similarity=similarity, target=TARGET
            ).score
        )

    return score


def check(found, weights, cells):
    torch.testing.assert_close(found.contributions, torch.tensor(weights, dtype=torch.float64))
    torch.testing.assert_close(found.cells, torch.tensor(cells, dtype=torch.float64))
    assert not found.support_cells.nan_to_num(0).any()
    assert found.saliency.max() == (1 if found.cells.any() else 0)


@every_rule
def test_score_cam_equals_the_loop_version(rule, similarity):
    encoder, query = tiny_encoder(random_head("linear")), images(seed=1)
    A = encoder(query[None]).maps[0].tolist()
    alpha = reference.score_cam_weights(A, query.tolist(), scorer(encoder, rule, similarity))
    found = explain(
        encoder, query, SUPPORTS, method="score-cam", rule=QUICK_RULES[rule], similarity=similarity, target=TARGET
    )
    check(found, alpha, reference.class_activation_map(A, alpha))
    assert float(found.contributions.sum()) == pytest.approx(1)


class MeanAboveOne(GlobalAveragePooling):
    """A pooling of the user's own, which gives a map of zeros another value than 0."""

    def __call__(self, maps):
        return maps.mean(dim=(-2, -1)) + 1


@pytest.mark.parametrize(
    ("head", "pooling", "rule", "similarity"),
    [
        *(("linear", "gap", *pair) for pair in PAIRS if pair[0] in OF_WHOLES),
        ("gelu-mlp", "gem", "mean-similarity", "cosine"),
        ("none", "lse", "prototype", "euclidean"),
        ("linear-l2", "gmp", "knn-vote", "inner-product"),
        ("linear", MeanAboveOne(), "mean-similarity", "cosine"),
    ],
)
def test_ablation_cam_equals_the_loop_version(head, pooling, rule, similarity):
    encoder, query = tiny_encoder(random_head(head), pooling), images(seed=1).abs()
    A = encoder(query[None]).maps[0].tolist()
    found = explain(
        encoder, query, SUPPORTS, method="ablation-cam", rule=QUICK_RULES[rule], similarity=similarity, target=TARGET
    )

    def ablated_score(k):
        handle = encoder.network.activation.register_forward_hook(lambda _l, _i, maps: without(maps, k))
        try:
            altered = encoder(query[None])
        finally:
            handle.remove()
        asked = found.question
        return float(asked.rule.class_scores(altered.embedding, asked.supports, asked.similarity)[0, TARGET])

    weights = reference.ablation_cam_weights(CHANNELS, float(found.score), ablated_score)
    check(found, weights, reference.class_activation_map(A, weights))


def without(maps, channel):
    kept = torch.ones(maps.shape[1], 1, 1, dtype=maps.dtype)
    kept[channel] = 0
    return maps * kept


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (2, 2), (20, 5)], ids=str)
def test_occlusion_equals_the_loop_version(window, stride):
    encoder, query = tiny_encoder(random_head("linear")), images(seed=1)
    cells = reference.occlusion(query.tolist(), window, stride, scorer(encoder))
    options = OcclusionOptions(window=window, stride=stride, batch_size=5)
    found = explain(encoder, query, SUPPORTS, method=occlusion_method(options), target=TARGET)
    torch.testing.assert_close(found.cells, torch.tensor(cells, dtype=torch.float64))
    assert found.method == "occlusion"
    assert found.contributions.isnan().all()
    assert found.saliency.max() == 1
    torch.testing.assert_close(found.saliency, found.cells / found.cells.max())


def test_every_pixel_is_hidden_as_often_as_any_other_where_the_stride_divides_the_window():
    corners = window_corners((11, 14), 4, 2)
    assert hidden_pixels(corners, 4, (11, 14)).sum(dim=0).unique().tolist() == [4.0]
    assert hidden_pixels(corners, 4, (11, 14)).sum(dim=(1, 2)).max() == 16


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        (OcclusionOptions(), (224, 224), (32, 16)),
        (OcclusionOptions(), (6, 8), (1, 1)),
        (OcclusionOptions(window=9), (224, 224), (9, 4)),
        (OcclusionOptions(stride=40), (224, 300), (40, 40)),
    ],
    ids=str,
)
def test_the_square_and_the_step_follow_the_size_of_the_image(options, size, expected):
    assert options.window_and_stride(size) == expected


@pytest.mark.parametrize("name", ["score-cam", "ablation-cam", "occlusion"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_queries_of_a_batch_do_not_touch_each_other(name, count):
    encoder, queries = tiny_encoder(random_head("linear")), images(count, seed=1)
    together = explain(encoder, queries, SUPPORTS, method=name)
    for i in {0, count - 1}:
        alone = explain(encoder, queries[i], SUPPORTS, method=name)
        torch.testing.assert_close(together[i].cells, alone.cells)
        torch.testing.assert_close(together[i].contributions, alone.contributions, equal_nan=True)
        torch.testing.assert_close(METHODS[name].attribute(together[i].question).cells, alone.cells)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.perturbs])
def test_methods_that_mask_the_image_say_when_there_is_none(name):
    question = explain(tiny_encoder(), images(2, seed=1), SUPPORTS, method="exact").question
    with pytest.raises(ValueError, match="needs the queries' pixels, but only their features were kept; use explain"):
        METHODS[name].attribute(dataclasses.replace(question, pixels=None))
    METHODS["ablation-cam"].attribute(dataclasses.replace(question, pixels=None))


def test_a_vote_that_loses_its_voters_is_refused():
    """The query is the only support of its class; where all of it is hidden, it is the empty image of the other."""
    query, everything = images(seed=1), occlusion_method(OcclusionOptions(window=16, stride=8))
    supports = {"itself": query[None], "empty": torch.zeros_like(query)[None]}
    with pytest.raises(ValueError, match="no neighbor of the explained class left, so its score is minus infinity"):
        explain(tiny_encoder(), query, supports, method=everything, rule=KnnVote(k=1))
    assert explain(tiny_encoder(), query, supports, method=everything, rule=KnnVote(k=2)).cells.max() > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 0}, "occlusion needs window of at least 1, but got 0"),
        ({"stride": -1}, "occlusion needs stride of at least 1, but got -1"),
        ({"batch_size": 0}, "occlusion needs batch_size of at least 1, but got 0"),
        ({"window": 4, "stride": 5}, "every pixel is hidden, but got a window of 4 and a stride of 5; lower stride"),
    ],
    ids=str,
)
def test_squares_that_leave_pixels_out_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        OcclusionOptions(**options)


def test_a_square_hides_what_made_the_score():
    """Red on the left half, the support is red, and another color would be no match."""
    encoder = tiny_encoder()
    query = torch.zeros(3, *IMAGE, dtype=torch.float64)
    query[0, :, :4] = 3
    found = explain(encoder, query, query[None, None], method=occlusion_method(OcclusionOptions(window=2, stride=2)))
    assert found.cells[:, :4].min() > 0
    assert found.cells[:, 4:].max() < 1e-12
    assert find_method("occlusion").perturbs
