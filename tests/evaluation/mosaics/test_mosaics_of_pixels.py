"""Mosaics for methods that go back to the pixels, under the head of the mosaics, against the public functions."""

import pytest
import torch
from staged_network import staged_network

from episodes import DigitScenes, direct_resize
from fsl_explain import METHODS, Encoder, explain, metrics
from fsl_explain.evaluation.mosaics.fitted_heads import find_head
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes, crop_area, cut, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import draw_mosaics, embed_mosaics, picture_of

SIDE, SIZES = 32, MosaicSizes(count=2)
OF_PIXELS = [name for name, method in METHODS.items() if method.differentiates]


@pytest.mark.parametrize("head", ["none", "center"])
def test_equals_the_public_functions_mosaic_by_mosaic(head):
    dataset = DigitScenes(part="novel", per_class=6, size=SIDE)
    encoder = Encoder.wrap(staged_network().float(), preprocess=direct_resize(SIDE, (0.5,) * 3, (0.5,) * 3))
    store = embed_mosaics(encoder, dataset, SIZES, batch_size=2)
    figures = evaluate_mosaics(store, encoder.pooling, heads=[head], methods=OF_PIXELS, encoder=encoder)[head]
    fitted = find_head(head)(store.crops[store.fitting].double(), store.labels[store.fitting], 0).float()
    under = encoder.with_head(fitted)
    for number, mosaic in enumerate(draw_mosaics(dataset, SIZES)[1]):
        picture = encoder.preprocess([picture_of(mosaic, dataset, SIZES.crop, SIDE)])[0]
        crops = [dataset[int(index)] for index in mosaic.references]
        alone = [cut(crop.image, crop_area(crop, SIZES.crop), SIDE) for crop in crops]
        supports, mask = encoder.preprocess(alone)[:, None], tile_masks(SIDE, SIDE)[mosaic.target][None]
        for method in OF_PIXELS:
            saliency = explain(under, picture, supports, method=method, target=int(mosaic.target)).saliency[None]
            found = figures.methods[method]
            inside = float(metrics.relevance_mass_accuracy(saliency, mask))
            assert float(found.energy[number]) == pytest.approx(inside, abs=1e-3, nan_ok=True)
    spoken = {method: bool(figures.methods[method].energy.isfinite().any()) for method in OF_PIXELS}
    assert all(spoken.values()), spoken
    residual = figures.methods["integrated-gradients"].residual
    assert bool((residual < 0.1).all())
    assert bool(torch.isnan(figures.methods["smoothgrad"].residual).all())
