"""The benchmarks' one way back for all details draws what the way back of each detail alone does."""

from dataclasses import replace

import pytest
import torch
from all_details import at_all_details, caught

from fsl_explain import explain
from fsl_explain.explainers.methods.named import METHODS
from tests.pullback.followed_networks import BLOCKS
from tests.pullback.test_finer_laws import encoder_of, images, question


@pytest.mark.parametrize("pullback", ["abs", "gamma"])
@pytest.mark.parametrize("kind", list(BLOCKS))
def test_each_detail_is_as_if_it_were_alone(kind, pullback):
    encoder, given = encoder_of(kind), images(2)
    features = encoder.with_detail(2, "drawn", pullback)(given)
    factors = torch.randn(2, features.maps.shape[1], 1, 1, dtype=torch.float64)
    relevance = torch.stack([features.maps * factors, features.maps])
    found = at_all_details(features.finer, relevance)
    assert list(found) == [1, 2]
    for detail, (arrived, left) in found.items():
        for biases, cells in {"drawn": arrived + left, "apart": arrived}.items():
            alone = encoder.with_detail(detail, biases, pullback)(given).finer
            for query, one in zip(cells, relevance, strict=True):
                expected = alone.drawn(one, torch.ones(1, 1, 1, dtype=torch.float64)).cells
                torch.testing.assert_close(query, expected)


def test_relevance_is_that_of_the_cells():
    encoder, (query, supports), asked = encoder_of("residual"), question(), []
    contrast = METHODS["contrast"]

    def kept(one):
        asked.append(one)
        return contrast.attribute(one)

    explain(encoder, query, supports, method=replace(contrast, attribute=kept, name="kept"))
    answer, relevance = caught(contrast, asked[0])
    torch.testing.assert_close(relevance.sum(dim=-3), contrast.attribute(asked[0]).cells)
    torch.testing.assert_close(answer.cells, relevance.sum(dim=-3))
