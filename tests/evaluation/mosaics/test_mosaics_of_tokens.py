"""Mosaics put together again for methods that listen to a transformer's tokens, against the public functions."""

import pytest
import torch
from small_transformers import shaken
from torchvision.models import VisionTransformer

from episodes import DigitScenes, direct_resize
from fsl_explain import Encoder, explain, metrics
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes, crop_area, cut, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import draw_mosaics, embed_mosaics, picture_of

SIDE, SIZES = 32, MosaicSizes(count=3)
METHODS = ("attention", "rollout", "chefer", "legrad", "value-path")


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=SIDE)


@pytest.fixture(scope="module")
def encoder():
    network = shaken(VisionTransformer(SIDE, 8, 2, 2, 8, 12, num_classes=3)).float()
    return Encoder.wrap(network, readout="mean", preprocess=direct_resize(SIDE, (0.5,) * 3, (0.5,) * 3))


@pytest.fixture(scope="module")
def store(encoder, dataset):
    return embed_mosaics(encoder, dataset, SIZES, batch_size=2)


def test_the_images_are_those_that_were_embedded(encoder, dataset, store):
    drawn = draw_mosaics(dataset, SIZES)[1]
    expected = encoder.preprocess([picture_of(mosaic, dataset, SIZES.crop, SIDE) for mosaic in drawn])
    assert torch.equal(store.images(encoder, slice(0, 3)), expected)
    assert torch.equal(store.images(encoder, slice(1, 2)), expected[1:2])


def test_equals_the_public_functions_mosaic_by_mosaic(encoder, dataset, store, tmp_path):
    given = {"heads": ["none"], "methods": METHODS, "encoder": encoder, "partial": tmp_path}
    figures = evaluate_mosaics(store, encoder.pooling, **given)["none"]
    for number, mosaic in enumerate(draw_mosaics(dataset, SIZES)[1]):
        picture = encoder.preprocess([picture_of(mosaic, dataset, SIZES.crop, SIDE)])[0]
        crops = [dataset[int(index)] for index in mosaic.references]
        alone = [cut(crop.image, crop_area(crop, SIZES.crop), SIDE) for crop in crops]
        supports, mask = encoder.preprocess(alone)[:, None], tile_masks(SIDE, SIDE)[mosaic.target][None]
        for method in METHODS:
            saliency = explain(encoder, picture, supports, method=method, target=int(mosaic.target)).saliency[None]
            found = figures.methods[method]
            assert float(found.hit[number]) == float(metrics.pointing_game(saliency, mask))
            inside = float(metrics.relevance_mass_accuracy(saliency, mask))
            assert float(found.energy[number]) == pytest.approx(inside, abs=1e-4)


def test_without_the_encoder_they_are_refused(encoder, store):
    with pytest.raises(ValueError, match="because 'legrad' asks its network again, but got none; give encoder="):
        evaluate_mosaics(store, encoder.pooling, heads=["none"], methods=["legrad"])
