"""LaFAM against the plain loops, and the maps that look at nothing."""

import math

import pytest
import torch
from decision_parts import OPTIONS
from references import lafam as reference
from tiny_encoder import IMAGE, OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import explain, saliency
from fsl_explain.explainers import METHODS
from fsl_explain.explainers.methods.baselines import all_ones, centered_gaussian, image_seeds

SLOW = {"bilinear": reference.saliency_bilinear, "nearest": reference.saliency_nearest}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("interpolation", SLOW)
def test_saliency_without_supports_equals_the_loop_version(interpolation, dtype, tolerance):
    encoder, batch = tiny_encoder(dtype=dtype), images(2, seed=1, dtype=dtype)
    maps = encoder(batch).maps.tolist()
    expected = torch.tensor([SLOW[interpolation](A, *IMAGE) for A in maps], dtype=dtype)
    found = saliency(encoder, batch, interpolation=interpolation)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(saliency(encoder, batch[1], interpolation=interpolation), found[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
def test_an_explanation_equals_the_loop_version(dtype, tolerance):
    encoder, query, supports = tiny_encoder(dtype=dtype), images(seed=1, dtype=dtype), images(2, 2, seed=2, dtype=dtype)
    explanation = explain(encoder, query, supports, method="lafam")
    A = encoder(query[None]).maps[0].tolist()
    pairs = [(explanation.cells, reference.mean_map(A)), (explanation.saliency, reference.saliency_bilinear(A, *IMAGE))]
    for found, expected in pairs:
        torch.testing.assert_close(found, torch.tensor(expected, dtype=dtype), rtol=0, atol=tolerance)
    of_support = torch.tensor(reference.mean_map(encoder(supports[1]).maps[0].tolist()), dtype=dtype)
    torch.testing.assert_close(explanation.support_cells[1, 0], of_support, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in OF_MAPS if not METHODS[name].uses_supports])
def test_a_label_free_map_ignores_supports_and_target_and_claims_no_contributions(name):
    encoder, query = tiny_encoder(random_head("linear")), images(seed=1)
    first = explain(encoder, query, images(2, 2, seed=2), method=name, target=0)
    second = explain(encoder, query, images(3, 1, seed=3), method=name, target=2)
    assert torch.equal(first.saliency, second.saliency)
    assert first.contributions.isnan().all()
    assert first.bias.isnan()
    assert first.residual.isnan()
    assert first.saliency.min() >= 0
    assert first.saliency.max() <= 1


def test_every_image_has_a_noise_of_its_own_that_rounding_does_not_change():
    pooled = torch.rand(200, 12, generator=torch.Generator().manual_seed(0))
    seeds = image_seeds(pooled)
    assert len(seeds.unique()) > 195
    assert torch.equal(image_seeds(pooled.double() * (1 + 1e-7)), seeds)
    strongest = pooled.argmax(dim=-1)
    assert any(len(seeds[strongest == channel].unique()) > 1 for channel in range(12))
    assert image_seeds(torch.rand(3, 4096).sort(dim=-1).values).min() > 0


def test_maps_of_methods_that_use_supports_change_with_them():
    encoder, query = tiny_encoder(), images(seed=1)
    for name in (name for name in OF_MAPS if METHODS[name].uses_supports):
        options = OPTIONS.get(name, {})
        first, second = (
            explain(encoder, query, images(2, 1, seed=s), method=name, target=0, **options) for s in (2, 3)
        )
        same = [torch.allclose(getattr(first, part), getattr(second, part)) for part in ("saliency", "contributions")]
        assert not all(same), name


def test_the_gaussian_lies_in_the_center_and_is_a_quarter_of_each_side_wide():
    drawn = centered_gaussian(5, 9)
    assert drawn.argmax() == 2 * 9 + 4
    assert float(drawn.max()) == 1
    assert float(drawn[0, 4]) == pytest.approx(math.exp(-((2 / 1.25) ** 2) / 2))
    assert torch.equal(drawn, drawn.flip(0))
    assert torch.equal(all_ones(2, 3), torch.ones(2, 3))


def test_a_constant_map_keeps_every_pixel():
    encoder = tiny_encoder()
    torch.nn.init.zeros_(encoder.network.conv.weight)
    assert torch.equal(saliency(encoder, images(seed=1)), torch.ones(IMAGE, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"method": "lafan"}, LookupError, r"unknown method 'lafan'; did you mean 'lafam'"),
        ({"method": "exact"}, ValueError, r"without supports there are lafam, .*, but got 'exact'; use explain\(\)"),
        ({"target": 1}, ValueError, r"lafam explains no class, but got a target; drop target"),
        ({"interpolation": "bilinea"}, LookupError, r"unknown interpolation 'bilinea'; did you mean 'bilinear'"),
    ],
    ids=["misspelled", "needs supports", "target", "interpolation"],
)
def test_what_saliency_cannot_do_is_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        saliency(tiny_encoder(), images(seed=1), **arguments)
