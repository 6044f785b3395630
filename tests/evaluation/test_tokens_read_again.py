"""Derivatives at the patches of kept features, whose tokens are read again: the numbers of ``explain``, everywhere."""

import jaxtyping
import numpy as np
import pytest
import torch
from token_networks import token_encoder

from episodes import DigitScenes, EpisodeSampler, direct_resize
from fsl_explain import METHODS, explain
from fsl_explain.evaluation import evaluate_episodes, load_maps
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.mosaics.explained_mosaics import MosaicWork, fitted_head
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes, crop_area, cut
from fsl_explain.evaluation.mosaics.mosaic_store import draw_mosaics, embed_mosaics, picture_of
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank

SIDE, SIZES = 32, MosaicSizes(count=11)
READING_AGAIN = tuple(name for name, method in METHODS.items() if method.reads_again and name != "hirescam")
DATASET = DigitScenes(part="novel", per_class=4, size=SIDE)


@pytest.fixture(scope="module", params=["class", "class-direct", "class-last", "class+mean"])
def encoder(request):
    prepared = direct_resize(SIDE, (0.5,) * 3, (0.25,) * 3)
    return token_encoder("timm registers", request.param, torch.float32, preprocess=prepared)


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def pixels_of(encoder, indices):
    return encoder.preprocess([DATASET[int(index)].image for index in indices])


def expect_kept(kept, found):
    """Maps are kept in half precision, relative to their largest value."""
    cells = kept.cells.double()
    torch.testing.assert_close(cells, found.cells.double(), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("head", ["none", "center"])
def test_mosaics_equal_explain(encoder, head):
    """More of them than are read again at once."""
    store = embed_mosaics(encoder, DATASET, SIZES, batch_size=4)
    by = DecidedBy.of("mean-similarity", "cosine", None)
    methods = {name: METHODS[name] for name in READING_AGAIN}
    work = MosaicWork(store, encoder.pooling, by, methods, 0, encoder)._head(head)
    under = encoder.with_head(fitted_head(head, store).float())
    drawn, found = draw_mosaics(DATASET, SIZES)[1], {}
    for name, method in methods.items():
        found[name] = method.attribute(work.question(method, slice(0, SIZES.count), store.target))
    for number in (0, SIZES.count - 1):
        mosaic = drawn[number]
        picture = encoder.preprocess([picture_of(mosaic, DATASET, SIZES.crop, SIDE)])[0]
        crops = [DATASET[int(index)] for index in mosaic.references]
        supports = encoder.preprocess([cut(one.image, crop_area(one, SIZES.crop), SIDE) for one in crops])[:, None]
        for name in READING_AGAIN:
            expected = explain(under, picture, supports, method=name, target=int(mosaic.target)).cells
            torch.testing.assert_close(found[name].cells[number], expected, rtol=1e-3, atol=1e-6)
    largest = {name: float(one.cells.max()) for name, one in found.items()}
    assert all(one > 1e-3 for one in largest.values()), largest


def test_a_bank_equals_explain(encoder, tmp_path):
    given = {"methods": READING_AGAIN, "rules": ["nearest-neighbor"], "limit": 20, "batch_size": 9}
    measured = evaluate_bank(encoder, DATASET, **given, maps=tmp_path / "maps")
    saved, neighbors = load_maps(tmp_path), measured.neighbors.indices
    kept = [one for one in saved if one.facts["method"] in READING_AGAIN]
    assert {one.facts["method"] for one in kept} == {*READING_AGAIN}
    for one in kept:
        number = int(one.facts["query"])
        image, label = int(measured.images[number]), int(measured.labels[number])
        nearest = next(row for row in neighbors[number].tolist() if int(DATASET.labels[row]) == label)
        other = next(row for row in neighbors[number].tolist() if int(DATASET.labels[row]) != label)
        supports = pixels_of(encoder, [nearest, other])[:, None]
        query = pixels_of(encoder, [image])[0]
        expect_kept(one, explain(encoder, query, supports, method=one.facts["method"], target=0))


def test_episodes_equal_explain(encoder, tmp_path):
    sampler = EpisodeSampler(DATASET.labels, n_way=5, n_shot=1, n_query=2)
    evaluate_episodes(
        encoder, DATASET, sampler=sampler, episodes=1, methods=READING_AGAIN, maps=tmp_path / "maps", batch_size=9
    )
    episode = sampler[0]
    kept = [one for one in load_maps(tmp_path) if one.facts["method"] in READING_AGAIN]
    assert {one.facts["method"] for one in kept} == {*READING_AGAIN}
    queries = np.asarray(episode.query).reshape(-1).tolist()
    for one in kept:
        image = queries[int(one.facts["query"])]
        label = [int(name) for name in episode.classes].index(int(DATASET.labels[image]))
        supports = torch.stack([pixels_of(encoder, row) for row in np.asarray(episode.support)])
        query = pixels_of(encoder, [image])[0]
        expect_kept(one, explain(encoder, query, supports, method=one.facts["method"], target=label))


def test_mosaics_without_the_encoder_are_refused_before_any_work(encoder):
    store = embed_mosaics(encoder, DATASET, MosaicSizes(count=2))
    with pytest.raises(ValueError, match=r"because 'grad-cam' asks its network again, but got none; give encoder="):
        evaluate_mosaics(store, encoder.pooling, heads=["none"], methods=["exact"])
