"""Methods that go back to the pixels: their derivatives, their laws, and second writings of small networks."""

import pytest
import torch
from decision_parts import PAIRS, QUICK_RULES
from staged_network import SIDE, Scores, pictures, staged_encoder
from tiny_encoder import images, tiny_encoder
from torch import nn

from episodes.errors import Mistake
from fsl_explain import (
    METHODS,
    Encoder,
    IntegratedGradientsOptions,
    SmoothGradOptions,
    explain,
    integrated_gradients_method,
    smoothgrad_method,
)
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.methods.guided_backprop import guided_gradients
from fsl_explain.explainers.methods.integrated_gradients import AT_ZERO_IMAGE
from fsl_explain.explainers.methods.smoothgrad import noises
from fsl_explain.explainers.methods.whole_network import gradients, images_of
from fsl_explain.registries import LEARNED_LOCAL_RULES, LOCAL_RULES

QUERY, SUPPORTS = pictures(seed=1), pictures(3, 2, seed=2)
OF_PIXELS = [name for name, method in METHODS.items() if method.differentiates]
ADDING_UP = [pair for pair in PAIRS if pair[0] not in LEARNED_LOCAL_RULES]
SMOOTH = [pair for pair in PAIRS if pair[0] not in ("knn-vote", "majority-vote", "nearest-neighbor")]


def linear():
    """A head with the same weights in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(6, 4)


def question_of(encoder, query=QUERY, **options):
    return explain(encoder, query, SUPPORTS, **{"target": 1, **options}).question


@pytest.mark.parametrize(("rule", "similarity"), SMOOTH, ids=str)
def test_gradients_are_what_the_score_changes_by(rule, similarity):
    """By central differences, of the score that explain() itself gives."""
    encoder = staged_encoder(linear(), activation=nn.Tanh)
    options = {"rule": QUICK_RULES[rule], "similarity": similarity, "target": 1}
    question = question_of(encoder, **options)
    found = gradients(question, images_of(question))[0]
    for place in ((0, 0, 0), (1, 5, 7), (2, 11, 3)):
        step = torch.zeros_like(QUERY)
        step[place] = 1e-5
        up, down = (float(explain(encoder, QUERY + sign * step, SUPPORTS, **options).exact_score) for sign in (1, -1))
        assert float(found[place]) == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("method", OF_PIXELS)
def test_a_batch_is_longer_than_what_is_held_at_once(method):
    encoder, queries = staged_encoder(), pictures(10, seed=5)
    together = explain(encoder, queries, SUPPORTS, method=method)
    for i in (0, 9):
        torch.testing.assert_close(together[i].cells, explain(encoder, queries[i], SUPPORTS, method=method).cells)


@pytest.mark.parametrize("method", [name for name in OF_PIXELS if name != "integrated-gradients"])
def test_no_parameter_gets_a_gradient_and_no_graph_is_kept(method):
    encoder = staged_encoder()
    explain(encoder, QUERY, SUPPORTS, method=method)
    assert all(one.grad is None for one in encoder.network.parameters())
    behind = tiny_encoder()  # of a network that goes on behind the layer
    explain(behind, images(), images(2, 1, seed=1), method=method)
    assert behind.reading.tail.outcome is None
    for parameter in encoder.network.parameters():
        parameter.requires_grad = False
    frozen = explain(encoder, QUERY, SUPPORTS, method=method)
    assert frozen.cells.abs().sum() > 0


def test_guided_backpropagation_is_that_of_the_paper_written_by_hand():
    """Of two layers: R = Wᵀ(1[z > 0] · (Vᵀ(1[u > 0] · g⁺))⁺), g the derivative at the maps."""
    generator = torch.Generator().manual_seed(4)
    first, second = nn.Conv2d(3, 4, 1).double(), nn.Conv2d(4, 5, 1).double()
    for layer in (first, second):
        for parameter in layer.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    encoder = Encoder.wrap(nn.Sequential(first, nn.ReLU(), second, nn.ReLU6()))
    question = question_of(encoder)
    found = guided_gradients(question, images_of(question))[0]
    W, V = (layer.weight.detach()[:, :, 0, 0] for layer in (first, second))
    z = torch.einsum("ji,ihw->jhw", W, QUERY) + first.bias.detach()[:, None, None]
    u = torch.einsum("kj,jhw->khw", V, z.clamp(min=0)) + second.bias.detach()[:, None, None]
    maps = u.clamp(0, 6).requires_grad_()
    references = encoder(SUPPORTS[1]).embedding
    score = torch.cosine_similarity(maps.mean(dim=(-2, -1))[None], references, dim=-1).mean()
    (g,) = torch.autograd.grad(score, maps)
    at_u = g.clamp(min=0) * ((u > 0) & (u < 6))
    at_z = torch.einsum("kj,khw->jhw", V, at_u).clamp(min=0) * (z > 0)
    torch.testing.assert_close(found, torch.einsum("ji,jhw->ihw", W, at_z))


def test_it_is_the_same_whether_a_relu_works_in_place_or_not():
    one, other = (
        explain(staged_encoder(in_place=in_place), QUERY, SUPPORTS, method="guided-backprop")
        for in_place in (True, False)
    )
    torch.testing.assert_close(one.cells, other.cells)
    assert one.cells.shape == (SIDE, SIDE)
    assert one.cells.min() >= 0


@pytest.mark.parametrize("activation", [nn.LeakyReLU, nn.SiLU, nn.Hardswish])
def test_guided_backpropagation_is_refused_where_no_relu_runs(activation):
    encoder = staged_encoder(activation=activation)
    for method in ("guided-backprop", "guided-grad-cam"):
        with pytest.raises(Mistake, match="a rule for ReLU, but none runs in StagedNetwork; use smoothgrad or integr"):
            explain(encoder, QUERY, SUPPORTS, method=method)


def test_guided_grad_cam_is_the_product():
    encoder = staged_encoder()
    parts = [explain(encoder, QUERY, SUPPORTS, method=name) for name in ("guided-backprop", "grad-cam")]
    found = explain(encoder, QUERY, SUPPORTS, method="guided-grad-cam")
    torch.testing.assert_close(found.cells, parts[0].cells * parts[1].saliency)


def test_smoothgrad_is_the_mean_over_noisy_copies_one_by_one():
    encoder, options = staged_encoder(), SmoothGradOptions(samples=11, noise=0.3, seed=7)
    found = explain(encoder, QUERY, SUPPORTS, method=smoothgrad_method(options), target=1)
    scores, total = Scores(encoder, SUPPORTS), torch.zeros_like(QUERY)
    spread = 0.3 * (QUERY.max() - QUERY.min())
    for number in range(11):
        copy = (QUERY + spread * noises(range(number, number + 1), (3, SIDE, SIDE), 7)[0]).requires_grad_()
        total += torch.autograd.grad(scores(copy[None])[0, 1], copy)[0] / 11
    torch.testing.assert_close(found.cells, total.abs().sum(dim=0))
    assert found.method == "smoothgrad"


def test_without_noise_it_is_the_gradient_and_with_another_seed_another_map():
    encoder = staged_encoder()
    question = question_of(encoder)
    plain = gradients(question, images_of(question))[0].abs().sum(dim=0)
    methods = [smoothgrad_method(SmoothGradOptions(noise=0.0, samples=2)), "smoothgrad", "smoothgrad"]
    methods.append(smoothgrad_method(SmoothGradOptions(seed=1)))
    still, first, again, other = (explain(encoder, QUERY, SUPPORTS, method=one, target=1).cells for one in methods)
    torch.testing.assert_close(still, plain)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_the_noise_has_its_standard_deviation_and_its_number_alone_decides_it():
    drawn = noises(range(40), (3, 9, 9), 0)
    assert float(drawn.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(noises(range(17, 19), (3, 9, 9), 0), drawn[17:19])


@pytest.mark.parametrize(("rule", "similarity"), ADDING_UP, ids=str)
def test_integrated_gradients_add_up_for_every_rule(rule, similarity):
    """Pixels, the input of zeros and constants are the score, line by line; of a vote with its weights frozen.

    Rules over cells have edges along the path, where another pair is chosen, which steps meet less closely.
    """
    encoder = staged_encoder(linear(), activation=nn.Tanh)
    method = integrated_gradients_method(IntegratedGradientsOptions(missed=1e-9, steps=512))
    found = explain(encoder, QUERY, SUPPORTS, method=method, rule=QUICK_RULES[rule], similarity=similarity)
    receipt = found.receipt()
    scale = max(1.0, receipt.absolute_sum) * (1e3 if rule in LOCAL_RULES and rule != "frn" else 1)
    assert float(found.cells.sum() + found.bias) == pytest.approx(float(found.exact_score), abs=1e-7 * scale)
    assert receipt.residual < 1e-7 * scale
    assert abs(receipt.missed) < 1e-7 * scale
    assert receipt.named == {AT_ZERO_IMAGE: pytest.approx(receipt.bias, abs=1e-9 * scale)}
    assert "input of zeros (cells: pixels)" in str(receipt)
    assert found.contributions.isnan().all()
    assert found.signed


def test_integrated_gradients_refuse_what_supports_of_other_classes_add():
    with pytest.raises(Mistake, match="StructuredDeepEMD also weighs the query by other images; use method='exact'"):
        explain(staged_encoder(), QUERY, SUPPORTS, method="integrated-gradients", rule=QUICK_RULES["deep-emd-sfc"])


@pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])
def test_the_input_of_zeros_has_its_own_score(similarity):
    encoder = staged_encoder(linear())
    method = integrated_gradients_method(IntegratedGradientsOptions(missed=1e-3, steps=512))
    found = explain(encoder, QUERY, SUPPORTS, method=method, similarity=similarity, target=1)
    of_zeros = explain(encoder, torch.zeros_like(QUERY), SUPPORTS, similarity=similarity, target=1)
    assert float(found.bias) == pytest.approx(float(of_zeros.score))
    missed = abs(float(found.cells.sum() + found.bias - found.score))
    assert missed == pytest.approx(abs(found.receipt().missed))
    assert missed <= 1e-3 * (float(found.cells.abs().sum()) + abs(float(found.bias)))
    torch.testing.assert_close(found.saliency, found.cells)


def test_fewer_steps_miss_more_and_the_receipt_says_so():
    encoder = staged_encoder(linear())
    for missed, most in ((0.9, 512), (1e-9, 8)):
        rough = integrated_gradients_method(IntegratedGradientsOptions(missed=missed, steps=most))
        found = explain(encoder, QUERY, SUPPORTS, method=rough)
        assert int(found.query.steps) == 8
        assert "integrated, 8 steps" in str(found.receipt())
        assert abs(found.receipt().missed) == pytest.approx(found.receipt().residual)


def test_a_query_without_voters_is_refused_under_noise():
    """Where the noise takes the only neighbor away."""
    query = pictures(seed=1)
    method = smoothgrad_method(SmoothGradOptions(noise=50.0, samples=40))
    supports = {"itself": query[None], "noise": 50 * pictures(6, seed=3)}
    with pytest.raises(Mistake, match="no neighbor of the explained class left, so its score is minus infinity"):
        explain(staged_encoder(), query, supports, method=method, rule=KnnVote(k=1), target="itself")


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)

    def forward(self, images):
        with torch.no_grad():
            return self.conv(images)


@pytest.mark.parametrize("method", ["smoothgrad", "integrated-gradients", "fullgrad", "guided-backprop"])
def test_a_network_without_derivatives_says_so(method):
    with pytest.raises(Mistake, match=r"no derivative comes back"):
        explain(Encoder.wrap(Detached().double()), QUERY, SUPPORTS, method=method)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SmoothGradOptions(samples=0), "SmoothGrad needs samples of at least 1, but got 0"),
        (lambda: SmoothGradOptions(noise=-0.1), "needs noise of at least 0 and below infinity, but got -0.1"),
        (lambda: SmoothGradOptions(noise=torch.inf), "needs noise of at least 0 and below infinity, but got inf"),
        (lambda: SmoothGradOptions(seed=-1), "SmoothGrad needs a seed of at least 0, but got -1"),
        (lambda: IntegratedGradientsOptions(missed=1.0), "need missed between 0 and 1, but got 1.0"),
        (lambda: IntegratedGradientsOptions(steps=7), "need at least 8 steps, but got 7"),
    ],
    ids=["samples", "noise", "endless noise", "seed", "missed", "steps"],
)
def test_options_that_have_no_meaning_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("method", ["guided-backprop", "smoothgrad", "integrated-gradients"])
def test_what_makes_the_score_stands_out(method):
    """Not of FullGrad, whose absolute values do not tell what speaks for the score from what speaks against it.

    The first map copies red, the support is red; the query is red on its left half, and green on its right."""
    conv = nn.Conv2d(3, 2, 1, bias=False)
    conv.weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None]
    encoder = Encoder.wrap(nn.Sequential(conv, nn.ReLU()).double())
    query, red = torch.zeros(3, 4, 4).double(), torch.zeros(3, 4, 4).double()
    query[0, :, :2], query[1, :, 2:], red[0] = 3, 3, 1
    cells = explain(encoder, query, red[None, None], method=method).cells
    assert cells[:, :2].mean() > cells[:, 2:].mean()
