"""A network on a device without float64: everything downstream is as on the CPU."""

import copy

import pytest
import torch
from apple import apple
from tiny_encoder import OF_MAPS, images, random_head, tiny_network
from torch import nn

import retrieval_explain
from episodes.errors import Mistake
from fsl_explain import Encoder, explain, metrics, saliency
from fsl_explain.devices import at_hand, has_float64, module_at_hand, precise
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.explainers.methods.relax import RelaxOptions, relax
from fsl_explain.registries import METHODS, RULES, SIMILARITIES
from retrieval_explain import MemoryBank


def both(head="linear", inference="eager"):
    """The same encoder on the CPU and on the device."""
    here = Encoder.wrap(tiny_network().eval(), "activation", head=random_head(head), inference=inference)
    network = tiny_network().eval().to(apple())
    there = Encoder.wrap(network, network.activation, head=random_head(head).to(apple()), inference=inference)
    return here, there


def batch(*leading, seed=0):
    return images(*leading, seed=seed, dtype=torch.float32)


SUPPORTS = batch(2, 2, seed=3)


def test_the_device_is_what_it_is_said_to_be():
    values = torch.ones(2).to(apple())
    assert values.device.type == "apple"
    assert not has_float64("apple")
    with pytest.raises(TypeError, match="float64"):
        values.double()
    with pytest.raises(RuntimeError, match="same device"):
        values + torch.ones(2)
    assert precise(values).dtype == torch.float64
    assert at_hand(torch.ones(2).double()).dtype == torch.float64
    assert next(module_at_hand(nn.Linear(2, 2).to(apple())).parameters()).device.type == "cpu"


@pytest.mark.parametrize("method", [name for name in OF_MAPS if not METHODS[name].differentiates])
def test_every_method_explains_as_on_the_cpu(method):
    options = {"threshold": 0.1} if method == "verification" else {}
    found, expected = (explain(one, batch(2), SUPPORTS, method=method, **options) for one in reversed(both()))
    torch.testing.assert_close(found.saliency, expected.saliency)
    torch.testing.assert_close(found.score, expected.score)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("similarity", [name for name in SIMILARITIES if name != "mahalanobis"])
def test_every_decision_is_that_of_the_cpu(rule, similarity):
    here, there = both("l2")
    try:
        expected = explain(here, batch(2), SUPPORTS, rule=rule, similarity=similarity)
    except Mistake:
        pytest.skip("the rule does not take this similarity")
    found = explain(there, batch(2), SUPPORTS, rule=rule, similarity=similarity)
    torch.testing.assert_close(found.exact_score, expected.exact_score)
    assert found.residual.max() < 1e-5


def test_images_and_features_may_lie_on_the_device():
    here, there = both()
    expected = explain(here, batch(2), SUPPORTS).saliency
    torch.testing.assert_close(explain(there, batch(2).to(apple()), SUPPORTS.to(apple())).saliency, expected)
    features = there(SUPPORTS.flatten(0, 1))
    there_too = type(features)(*(value.to(apple()) for value in (features.maps, features.pooled, features.embedding)))
    torch.testing.assert_close(explain(there, batch(2), there_too.unflatten(2, 2)).saliency, expected)
    assert there_too.in_float64().embedding.dtype == torch.float64


@pytest.mark.parametrize("on_the_device", [False, True])
def test_the_other_roads(on_the_device):
    here, there = both()
    query = batch(seed=5)
    asked = query.to(apple()) if on_the_device else query
    for method in ("lafam", "eigen-cam"):
        torch.testing.assert_close(saliency(there, asked, method=method), saliency(here, query, method=method))
    options = RelaxOptions(masks=4, grid=2)
    found, expected = relax(there, asked, options=options), relax(here, query, options=options)
    torch.testing.assert_close(found.importance, expected.importance)
    assert counterfactual(there, asked, SUPPORTS).cells == counterfactual(here, query, SUPPORTS).cells
    bank = MemoryBank.from_embeddings(there(batch(6)).embedding, labels=list("aabbcc"))
    torch.testing.assert_close(
        retrieval_explain.explain(there, asked, bank, k=3).saliency,
        retrieval_explain.explain(here, query, bank, k=3).saliency,
    )
    queries = there(batch(2)).embedding
    assert torch.equal(
        bank.search(queries.to(apple()) if on_the_device else queries, k=2).indices, bank.search(queries, k=2).indices
    )


def test_a_folded_copy():
    here, there = both(inference="folded")
    torch.testing.assert_close(there(batch(2)).embedding, here(batch(2)).embedding, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in there.network.modules())
    assert there.network.conv.weight.device.type == "apple"


def test_a_network_moves_back_and_is_copied():
    here, there = both()
    torch.testing.assert_close(copy.deepcopy(there)(batch(2)).embedding, here(batch(2)).embedding)
    there.network.cpu()
    there.head.cpu()
    torch.testing.assert_close(there(batch(2)).embedding, here(batch(2)).embedding)


MASKS = torch.zeros(2, 6, 8, dtype=torch.bool)
MASKS[:, 1:4, 2:6] = True
OF_MAPS = {
    "sparseness": (),
    "complexity": (),
    "auc": (MASKS,),
    "proportion": (MASKS,),
    "pointing_game": (MASKS,),
    "top_k_intersection": (MASKS,),
    "relevance_mass_accuracy": (MASKS,),
    "relevance_rank_accuracy": (MASKS,),
    "map_correlation": (torch.rand(2, 6, 8),),
    "map_rank_correlation": (torch.rand(2, 6, 8),),
}


@pytest.mark.parametrize("name", OF_MAPS)
def test_metrics_of_maps_on_the_device(name):
    metric, maps = getattr(metrics, name), torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(0))
    found = metric(maps.to(apple()), *(value.to(apple()) for value in OF_MAPS[name]))
    torch.testing.assert_close(at_hand(found), metric(maps, *OF_MAPS[name]))


def test_means_of_values_on_the_device():
    values = torch.rand(8)
    assert metrics.mean_interval(values.to(apple())) == metrics.mean_interval(values)
