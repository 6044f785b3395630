import pytest
import torch
from torchvision.transforms import v2

from episodes import DigitScenes
from fsl_explain import Encoder, metrics
from fsl_explain.evaluation import masked_queries
from fsl_explain.evaluation.episodes import evaluate_episodes
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.evaluation.masked_queries import Judge
from fsl_explain.explainers import METHODS


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


@pytest.mark.parametrize("masking", ["mean", "black", "blur"])
@pytest.mark.parametrize("in_cache", [1, 2**19])
def test_masked_embeddings_are_those_of_single_images_masked_one_by_one(masking, in_cache, monkeypatch):
    monkeypatch.setattr(masked_queries, "NUMBERS_IN_CACHE", in_cache)
    encoder = Encoder.named("conv4net", channels=6, size=32)
    store = embed_unique(encoder, DigitScenes(part="novel", per_class=2, size=32), range(7), 3, lambda _: None)
    saliency = torch.rand(5, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.2
    rows = torch.tensor([6, 0, 0, 3, 2])
    found = Judge(encoder, store, masking, 0.2, 3).embed_masked(rows, saliency, signed=True)
    for row, one, embedding in zip(rows, saliency, found, strict=True):
        image = store.pixels[row].permute(2, 0, 1)[None].clone()
        removed = metrics.removed_pixels(image, masking, black=encoder.black)
        mask = metrics.masks_from_signed_saliency(one[None])
        alone = encoder(metrics.masked_images(image, mask, removed=removed)).embedding
        torch.testing.assert_close(embedding, alone[0].double(), rtol=1e-5, atol=1e-6)


def test_a_network_in_float64_sees_images_masked_in_float64():
    encoder = Encoder.named("conv4net", channels=6, size=32)
    encoder.network.double()
    store = embed_unique(encoder, DigitScenes(part="novel", per_class=1, size=32), range(2), 2, lambda _: None)
    saliency = torch.rand(2, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = Judge(encoder, store, "mean", 0.2, 2).embed_masked(torch.arange(2), saliency, signed=False)
    alone = encoder(store.images(torch.arange(2)).double() * saliency[:, None]).embedding
    torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", ["mean-similarity", "dn4"])
def test_queries_are_measured_alike_in_groups_of_one_batch_and_of_several(rule, monkeypatch):
    encoder = Encoder.named("conv4net", channels=6, size=32)
    dataset = DigitScenes(part="novel", per_class=16, size=32)

    def measured(together):
        monkeypatch.setattr(masked_queries, "NUMBERS_TOGETHER", together)
        methods = ("exact", "contrast", "grad-cam", "lafam") if rule == "dn4" else ("fam", "exact", "contrast", "lafam")
        return evaluate_episodes(encoder, dataset, episodes=2, methods=methods, rule=rule, batch_size=4).measurements

    apart, together = measured(1), measured(2**30)
    torch.testing.assert_close(together.masked_score, apart.masked_score, rtol=1e-6, atol=1e-7, equal_nan=True)
    assert together.figures.keys() == apart.figures.keys()
    for name, values in together.figures.items():
        torch.testing.assert_close(values, apart.figures[name], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_a_group_is_several_batches_unless_that_takes_too_much_memory_or_asks_the_network_again():
    encoder = Encoder.named("conv4net", channels=6, size=32)
    store = embed_unique(encoder, DigitScenes(part="novel", per_class=1, size=32), range(3), 2, lambda _: None)
    judge = Judge(encoder, store, "mean", 0.2, 2)
    most = masked_queries.NUMBERS_TOGETHER

    def first(method, compared):
        return next(judge.groups(METHODS[method], 10**6, compared)).stop

    assert first("exact", 1) == most // (32 * 32)
    assert first("exact", most // 10) == 10
    assert first("exact", 10 * most) == first("relax", 1) == 2
    pieces = [*judge.groups(METHODS["exact"], 11, most // 4)]
    assert [(one.start, one.stop) for one in pieces] == [(0, 4), (4, 8), (8, 11)]
    finer = Encoder.named("conv4net", channels=6, size=32).with_detail(1)
    drawn = embed_unique(finer, DigitScenes(part="novel", per_class=1, size=32), range(3), 2, lambda _: None)
    assert next(Judge(finer, drawn, "mean", 0.2, 2).groups(METHODS["exact"], 10, 1)).stop == 2


def test_the_store_keeps_its_pixels_where_a_network_writes_into_what_it_is_given():
    network = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Conv2d(3, 2, 3))
    encoder = Encoder.wrap(network, "1", preprocess=Encoder.named("conv4net", channels=6, size=32).transform)
    dataset = DigitScenes(part="novel", per_class=1, size=32)
    store = embed_unique(encoder, dataset, range(3), 2, lambda _: None)
    assert (store.pixels < 0).any()
    torch.testing.assert_close(store.images(torch.arange(3)), encoder.preprocess([dataset[i].image for i in range(3)]))


def test_images_of_several_sizes_are_refused():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3))
    steps = [v2.ToImage(), v2.RandomResize(20, 60), v2.ToDtype(torch.float32, scale=True)]
    encoder = Encoder.wrap(network, "0", preprocess=v2.Compose(steps))
    torch.manual_seed(0)
    sentence = r"expected images .* of one size, but the first one became 3×\d+×\d+ and image \d of the data set 3×"
    with pytest.raises(ValueError, match=sentence):
        embed_unique(encoder, DigitScenes(part="novel", per_class=1, size=32), range(4), 2, lambda _: None)
