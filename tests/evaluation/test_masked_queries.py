import pytest
import torch

from episodes import DigitScenes
from fsl_explain import Encoder
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.evaluation.masked_queries import Judge


def test_a_mask_that_removes_nothing_keeps_the_embedding(monkeypatch):
    encoder = Encoder.named("conv4net", channels=6, size=32)
    store = embed_unique(encoder, DigitScenes(part="novel", per_class=1, size=32), range(3), 2, lambda _: None)
    saliency = torch.ones(3, 32, 32)
    saliency[1, :, :16] = 0.5
    monkeypatch.setattr(encoder.network, "forward", lambda images: torch.zeros(len(images), 6, 2, 2))
    judge = Judge(encoder, store, "mean", 0.2, 2)
    embedded = judge.embed_masked(torch.arange(3), saliency, signed=False)
    assert torch.equal(embedded[[0, 2]], store.embeddings[[0, 2]].double())
    assert (embedded[1] == 0).all()


def test_the_store_holds_each_image_once_in_ascending_order():
    encoder = Encoder.named("conv4net", channels=6, size=32)
    dataset = DigitScenes(part="novel", per_class=2, size=32)
    counted = []
    store = embed_unique(encoder, dataset, [7, 3, 7, 5], 2, counted.append)
    assert len(store.pixels) == sum(counted) == 3
    assert store.row_of.tolist() == [-1, -1, -1, 0, -1, 1, -1, 2, -1, -1]
    alone = encoder(encoder.preprocess([dataset[5].image]))
    torch.testing.assert_close(store.embeddings[1], alone.embedding[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(store.images(torch.tensor([1])), encoder.preprocess([dataset[5].image]))
    torch.testing.assert_close(store.features(torch.tensor([1])).maps, alone.maps, rtol=1e-5, atol=1e-6)
    assert store.masks[1].sum() > 0


def test_annotations_need_a_preprocessing_that_moves_them():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3))
    encoder = Encoder.wrap(network, "0", preprocess=lambda _: torch.zeros(3, 8, 8))
    dataset = DigitScenes(part="novel", per_class=1, size=32)
    with pytest.raises(ValueError, match=r"expected a torchvision.transforms.v2 preprocessing, .* but got function;"):
        embed_unique(encoder, dataset, [0], 2, lambda _: None)
