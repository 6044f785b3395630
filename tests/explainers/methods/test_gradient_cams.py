"""The gradient CAMs: against plain loops, against each other, and as explanations of a decision."""

import pytest
import torch
import torch.nn.functional as F
from decision_parts import OPTIONS
from references import gradient_cams as reference
from tiny_encoder import IMAGE, images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.explainers.methods import class_logit
from fsl_explain.explainers.methods.eigen_cam import principal_map
from fsl_explain.explainers.methods.map_gradients import map_gradients

SLOW = {
    "grad-cam": reference.grad_cam,
    "grad-cam++": reference.grad_cam_plus_plus,
    "xgrad-cam": reference.xgrad_cam,
    "hirescam": reference.hirescam,
    "layercam": reference.layercam,
}
every_formula = pytest.mark.parametrize("name", class_logit.FORMULAS)
SUPPORTS = {"a": images(2, seed=61), "b": images(3, seed=62)}


def random_maps(*shape, seed=0, rectified=False):
    maps = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return maps.relu() if rectified else maps


@every_formula
@pytest.mark.parametrize("rectified", [True, False], ids=["rectified", "signed"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)], ids=str)
def test_equals_the_loop_version(name, rectified, dtype, tolerance):
    maps, gradients = random_maps(2, 5, 3, 4, rectified=rectified), random_maps(2, 5, 3, 4, seed=1)
    maps[0, 1] = 0
    gradients[0, 2] = 0
    found = class_logit.FORMULAS[name](maps.to(dtype), gradients.to(dtype))
    for i in range(2):
        channels, cells = SLOW[name](maps[i].tolist(), gradients[i].tolist())
        torch.testing.assert_close(
            found.channels[i].double(), torch.tensor(channels, dtype=torch.float64), rtol=tolerance, atol=1e-6
        )
        torch.testing.assert_close(
            found.cells[i].double(), torch.tensor(cells, dtype=torch.float64), rtol=tolerance, atol=1e-6
        )


def test_every_formula_has_a_loop_version():
    assert SLOW.keys() == class_logit.FORMULAS.keys()


def test_the_weights_of_grad_cam_plus_plus_leave_out_one_factor_of_the_exponential_score():
    maps, gradients = random_maps(5, 3, 4, rectified=True), random_maps(5, 3, 4, seed=1)
    found = class_logit.FORMULAS["grad-cam++"](maps, gradients).channels
    with_factor, _ = reference.grad_cam_plus_plus(maps.tolist(), gradients.tolist(), S=1.5)
    torch.testing.assert_close(found * torch.tensor(1.5).double().exp(), torch.tensor(with_factor, dtype=torch.float64))


def test_grad_cam_plus_plus_halves_small_gradients_however_small():
    maps, gradients = random_maps(5, 3, 4, rectified=True), random_maps(5, 3, 4, seed=1)
    found = class_logit.FORMULAS["grad-cam++"](maps, gradients * 1e-30).channels
    torch.testing.assert_close(found * 1e30, gradients.relu().sum(dim=(-2, -1)) / 2)


def test_undefined_ratios_are_zero():
    """A map of the sum -1 with gradients of 2 makes 2 + g Σ A = 0; one of the sum 0 has no shares."""
    maps, gradients = torch.tensor([[[-3.0, 2.0]]]), torch.full((1, 1, 2), 2.0)
    assert class_logit.FORMULAS["grad-cam++"](maps, gradients).channels.tolist() == [0]
    assert class_logit.FORMULAS["xgrad-cam"](torch.tensor([[[-3.0, 3.0]]]), gradients).channels.tolist() == [0]
    assert class_logit.FORMULAS["xgrad-cam"](torch.zeros(1, 1, 2), gradients).cells.tolist() == [[0, 0]]


def test_xgrad_and_hires_maps_keep_the_sum_of_gradient_times_activation():
    maps, gradients = random_maps(2, 5, 3, 4, rectified=True), random_maps(2, 5, 3, 4, seed=1)
    total = (maps * gradients).sum(dim=(1, 2, 3))
    for name in ("xgrad-cam", "hirescam"):
        torch.testing.assert_close(class_logit.FORMULAS[name](maps, gradients).cells.sum(dim=(1, 2)), total)
    torch.testing.assert_close(class_logit.FORMULAS["hirescam"](maps, gradients).channels.sum(dim=1), total)


def test_with_one_gradient_per_channel_grad_xgrad_and_hires_are_one():
    maps, gradients = random_maps(2, 5, 3, 4), random_maps(2, 5, 1, 1, seed=1).expand(2, 5, 3, 4)
    expected = class_logit.FORMULAS["grad-cam"](maps, gradients).cells
    for name in ("xgrad-cam", "hirescam"):
        torch.testing.assert_close(class_logit.FORMULAS[name](maps, gradients).cells, expected)
    positive = class_logit.FORMULAS["layercam"](maps, gradients.abs()).cells
    torch.testing.assert_close(positive, class_logit.FORMULAS["hirescam"](maps, gradients.abs()).cells)


@pytest.mark.parametrize("name", ["xgrad-cam", "hirescam"])
def test_of_an_inner_product_the_map_adds_up_to_the_score(name):
    encoder, query = tiny_encoder(), images(seed=60)
    exact = explain(encoder, query, SUPPORTS, method="exact", similarity="inner-product", target="b")
    question = exact.question
    found = class_logit.FORMULAS[name](question.query.maps, map_gradients(question))
    torch.testing.assert_close(found.cells.sum(), exact.score)


def gradients_by_hand(encoder, query):
    maps = encoder(query[None]).maps.clone().requires_grad_()
    embedding = encoder.head(encoder.pooling(maps))[0]
    similarities = [F.cosine_similarity(embedding, q, dim=0) for q in encoder(SUPPORTS["b"]).embedding]
    (gradient,) = torch.autograd.grad(torch.stack(similarities).mean(), maps)
    return maps.detach()[0], gradient[0]


@every_formula
@pytest.mark.parametrize("pooling", ["gap", "gmp", "lse"])
def test_explains_a_decision_by_its_gradient(name, pooling):
    encoder, query = tiny_encoder(random_head("linear"), pooling), images(seed=60)
    channels, cells = SLOW[name](*(values.tolist() for values in gradients_by_hand(encoder, query)))
    found = explain(encoder, query, SUPPORTS, method=name, target="b")
    torch.testing.assert_close(found.contributions, torch.tensor(channels, dtype=torch.float64), rtol=1e-6, atol=1e-8)
    rectified = torch.tensor(cells, dtype=torch.float64).relu()
    torch.testing.assert_close(found.cells, rectified, rtol=1e-6, atol=1e-8)
    enlarged = F.interpolate(rectified[None, None], size=IMAGE, mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(found.saliency, enlarged / enlarged.max(), rtol=1e-5, atol=1e-6)
    assert not found.support_cells.nan_to_num().any()


@every_formula
def test_a_contrast_of_two_scores_is_a_difference_of_two_maps_only_where_the_formula_is_linear(name):
    """Grad-CAM and HiResCAM are linear in the gradient, so is XGrad-CAM; the rectified ones are not."""
    maps, one, other = random_maps(5, 3, 4), random_maps(5, 3, 4, seed=1), random_maps(5, 3, 4, seed=2)
    cells = [class_logit.FORMULAS[name](maps, gradient).cells for gradient in (one - other, one, other)]
    linear = torch.allclose(cells[0], cells[1] - cells[2])
    assert linear == (name in ("grad-cam", "xgrad-cam", "hirescam"))


@pytest.mark.parametrize("shape", [(2, 4, 3, 4), (2, 30, 3, 4), (2, 1, 2, 2), (2, 6, 2, 3)], ids=str)
def test_eigen_cam_equals_the_loop_version_and_the_singular_vectors(shape):
    maps = random_maps(*shape, seed=3)
    found = principal_map(maps)
    for i in range(2):
        expected = torch.tensor(reference.eigen_cam(maps[i].tolist()), dtype=torch.float64)
        torch.testing.assert_close(found[i], expected, rtol=1e-5, atol=1e-6)
        centered = maps[i].flatten(1) - maps[i].flatten(1).mean(dim=1, keepdim=True)
        _, values, rows = torch.linalg.svd(centered, full_matrices=False)
        torch.testing.assert_close(found[i].flatten().abs(), (values[0] * rows[0]).abs(), rtol=1e-8, atol=1e-8)
        assert (found[i] * maps[i].mean(dim=0)).sum() >= 0


def test_eigen_cam_of_one_pattern_is_that_pattern():
    pattern, strengths = random_maps(3, 4), torch.tensor([2.0, 1.0, -0.5]).double()
    found = principal_map(strengths[:, None, None] * pattern + 7)
    centered = pattern - pattern.mean()
    torch.testing.assert_close(found, centered * strengths.norm())
    torch.testing.assert_close(principal_map(-strengths[:, None, None] * pattern), -centered * strengths.norm())


def test_eigen_cam_of_constant_maps_is_zero():
    assert torch.equal(principal_map(torch.full((3, 2, 2), 5.0)), torch.zeros(2, 2))


def test_eigen_cam_draws_every_support():
    encoder = tiny_encoder()
    found = explain(encoder, images(seed=60), SUPPORTS, method="eigen-cam", **OPTIONS.get("eigen-cam", {}))
    maps = encoder(SUPPORTS["b"]).maps
    torch.testing.assert_close(found.support_cells[1], principal_map(maps).relu())
    torch.testing.assert_close(found.cells, principal_map(encoder(images(seed=60)[None]).maps[0]).relu())
