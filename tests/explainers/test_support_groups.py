"""Supports of any kind and number: images in batches, features and embeddings by class, prototypes alone."""

import jaxtyping
import numpy as np
import pytest
import torch
from tiny_encoder import images, tiny_encoder
from torch import nn

from fsl_explain import Encoder, explain, support_audit
from fsl_explain.explainers.compared import QueryAmongSupports
from fsl_explain.explainers.support_groups import IMAGES_TOGETHER


class Counting(nn.Module):
    """Counts the images of each forward pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen = nn.Conv2d(3, 4, 3), []

    def forward(self, pixels):
        self.seen.append(len(pixels))
        return self.conv(pixels)


@pytest.fixture
def many():
    generator = torch.Generator().manual_seed(0)
    return {f"class {i}": torch.rand(1 + i % 3, 3, 8, 8, generator=generator) for i in range(100)}


def test_supports_and_queries_go_through_the_network_in_batches(many):
    network = Counting()
    queries = torch.rand(70, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found = explain(Encoder.wrap(network, "conv"), queries, many)
    assert max(network.seen) <= IMAGES_TOGETHER
    assert sum(network.seen) == 70 + sum(map(len, many.values()))
    whole = Encoder.wrap(network, "conv")
    together = explain(whole, queries[:3], {name: whole(group) for name, group in many.items()})
    torch.testing.assert_close(found.decision.scores[:3], together.decision.scores)


@pytest.fixture
def groups():
    return {"b": images(3, seed=1), "a": images(1, seed=2), "c": images(2, seed=3)}


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "knn-vote"])
@pytest.mark.parametrize("method", ["exact", "contrast", "fam"])
def test_features_of_each_class_say_what_its_images_say(groups, rule, method):
    encoder, query = tiny_encoder(), images(1, seed=9)[0]
    expected = explain(encoder, query, groups, method=method, rule=rule)
    found = explain(encoder, query, {name: encoder(group) for name, group in groups.items()}, method=method, rule=rule)
    assert found.decision.classes == ("b", "a", "c")
    torch.testing.assert_close(found.cells, expected.cells)
    torch.testing.assert_close(found.support_cells, expected.support_cells, equal_nan=True)
    as_array = {name: encoder(group).embedding.numpy() for name, group in groups.items()}
    embeddings = explain(encoder, query, as_array, method=method, rule=rule)
    torch.testing.assert_close(embeddings.cells, expected.cells)
    torch.testing.assert_close(embeddings.decision.scores, expected.decision.scores)
    assert embeddings.support_cells.isnan().all()
    assert str(support_audit(embeddings)) == str(support_audit(expected))


def test_prototypes_alone_decide_as_their_supports_do(groups):
    encoder, query = tiny_encoder(), images(1, seed=9)[0]
    expected = explain(encoder, query, groups, method="contrast", rule="prototype")
    means = {name: encoder(group).embedding.mean(dim=0) for name, group in groups.items()}
    for given in (means, torch.stack(list(means.values())), np.stack([mean.numpy() for mean in means.values()])):
        found = explain(encoder, query, given, method="contrast", rule="prototype")
        torch.testing.assert_close(found.cells, expected.cells)
        torch.testing.assert_close(found.decision.scores, expected.decision.scores)
        assert found.residual < 1e-10 * found.absolute_sum


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"a": torch.rand(2, 5)},
            r"expected embeddings \(shot, 4\) with at least one shot for a, .*shape \(2, 5\)",
        ),
        ({"a": torch.rand(0, 4)}, r"with at least one shot for a"),
        ({"a": torch.ones(2, 4).long()}, r"expected embeddings for a, but got whole numbers"),
        ({"a": torch.rand(1, 4), "b": images(1)}, r"of one kind, but got embeddings for a, images for b"),
        (torch.rand(2, 3, 5), r"or embeddings \(way, shot, 4\), but got \(2, 3, 5\)"),
        ({"a": (images(2) * 9).byte()}, r"preprocessed images for a, but got whole numbers \(torch.uint8\)"),
        ({"a": []}, "expected a tensor .* for a, but got list; use encoder.preprocess"),
        ([], "expected supports as a tensor .* but got list"),
        ({}, "at least one class, but got none"),
    ],
)
def test_other_supports_are_refused_in_one_sentence(given, sentence, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users have it
    with pytest.raises(ValueError, match=sentence):
        explain(tiny_encoder(), images(1)[0], given)


def test_images_of_whole_numbers_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(TypeError, match=r"images for a query, but got whole numbers .* encoder\.preprocess"):
        explain(tiny_encoder(), (images(1)[0] * 99).byte(), {"a": images(1)})


def test_a_query_among_its_supports_is_said_once(groups):
    encoder = tiny_encoder()
    with pytest.warns(QueryAmongSupports, match="query 1 is support 2 of b, pixel by pixel") as said:
        explain(encoder, torch.stack([images(1, seed=9)[0], groups["b"][2], groups["c"][0]]), groups)
    assert len(said) == 1
