"""Retrieval explains an image at any rank, named by its rank, its path or its id."""

import pytest
import torch
from torch import nn

from fsl_explain import Encoder
from retrieval_explain import MemoryBank, explain

FAR = 36


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.rand(50, 3, generator=generator)
    bank = MemoryBank.from_embeddings(embeddings, paths=[f"images/{row}.png" for row in range(50)], ids=range(100, 150))
    layer = nn.AvgPool2d(4)
    encoder = Encoder.wrap(nn.Sequential(layer), "0")
    query = torch.rand(3, 16, 16, generator=generator)
    return encoder, query, bank, bank.search(encoder(query[None]).embedding[0], 50)


@pytest.mark.parametrize("name", [lambda _: FAR, lambda row: f"{row}.png", lambda row: f"id:{100 + row}"])
def test_an_image_far_down_is_explained_with_its_own_similarity_and_rank(case, name):
    encoder, query, bank, order = case
    row = int(order.indices[FAR])
    found = explain(encoder, query, bank, rule="nearest-neighbor", target=name(row))
    assert float(found.score) == pytest.approx(float(order.similarities[FAR]), abs=1e-6)
    assert found.decision.classes[found.target] == f"#37 {row}.png"
    assert float(found.cells.sum() + found.bias) == pytest.approx(float(found.score), abs=1e-6)


def test_the_first_is_contrasted_with_an_image_far_down(case):
    encoder, query, bank, order = case
    found = explain(
        encoder,
        query,
        bank,
        rule="nearest-neighbor",
        method="contrast",
        target=0,
        against=f"{int(order.indices[FAR])}.png",
    )
    assert float(found.score) == pytest.approx(float(order.similarities[0] - order.similarities[FAR]), abs=1e-6)


def test_what_is_not_there_is_one_sentence(case):
    encoder, query, bank, _ = case
    with pytest.raises(ValueError, match="expected a rank from 0 to 49, but got 50; the first neighbor is 0"):
        explain(encoder, query, bank, rule="nearest-neighbor", target=50)
    with pytest.raises(LookupError, match=r"unknown image or class '99\.png'"):
        explain(encoder, query, bank, rule="nearest-neighbor", target="99.png")
