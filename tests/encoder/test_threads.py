"""Several threads on one network get what one thread gets, and the network stays as it was."""

import copy
import pickle
import threading

import pytest
import torch
from forced_threads import Gate, met
from tiny_encoder import CHANNELS, IMAGE, OF_MAPS, images, tiny_network
from torch import nn

import retrieval_explain
from fsl_explain import Encoder, explain, saliency
from fsl_explain.backbones.capture import evaluating
from fsl_explain.evaluation.masked_queries import metrics
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.explainers.methods import class_logit
from fsl_explain.explainers.methods.relax import RelaxOptions, relax
from retrieval_explain import MemoryBank


class Gated(nn.Module):
    """A network in training mode, which only a thread that has it to itself finds at rest and leaves so."""

    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.before, self.inner, self.after = Gate(), inner or tiny_network(), Gate()

    def forward(self, batch):
        return self.after(self.inner(self.before(batch)))


def gated_encoder(normalized=True):
    network = Gated().train()
    head = nn.Sequential(*[nn.BatchNorm1d(CHANNELS)] * normalized, nn.Linear(CHANNELS, 3)).train()
    return Encoder.wrap(network, "inner.activation", head=head)


def batch(count, seed=0):
    return images(count, seed=seed, dtype=torch.float32)


SUPPORTS = batch(4, seed=9).reshape(2, 2, 3, *IMAGE)
BANK = MemoryBank.from_embeddings(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), labels=list("aabbcc"))


def explained(method):
    return lambda encoder, query: (
        explain(encoder, query, SUPPORTS, method=method, threshold=0.1 if method == "verification" else None).saliency
    )


ROADS = {
    "call": lambda encoder, query: encoder(query).embedding,
    "run": lambda encoder, query: encoder.run(encoder.network.eval(), query),
    "at scales": lambda encoder, query: encoder.at_scales((6, 12))(query).embedding,
    **{f"explain {method}": explained(method) for method in OF_MAPS},
    **{
        f"class logit {method}": lambda encoder, query, method=method: (
            class_logit.class_logit_map(encoder, query, method).cells
        )
        for method in class_logit.FORMULAS
    },
    "explain integrated": lambda encoder, query: (
        explain(Encoder.wrap(encoder.network, "inner.activation", tail="network"), query, SUPPORTS).saliency
    ),
    "saliency": lambda encoder, query: saliency(encoder, query, method="lafam"),
    "relax": lambda encoder, query: relax(encoder, query, options=RelaxOptions(masks=4, grid=2)).importance,
    "masked images": lambda encoder, query: encoder(metrics.masked_images(query, query[:, 0].sigmoid())).embedding,
    "counterfactual": lambda encoder, query: counterfactual(encoder, query[0], SUPPORTS).scores_before,
    "retrieval": lambda encoder, query: (
        retrieval_explain.retrieve(encoder, query[:1], BANK, k=3).neighbors.similarities
    ),
    "explained neighbors": lambda encoder, query: retrieval_explain.explain(encoder, query[0], BANK, k=3).saliency,
}


def state(*modules):
    return [
        (one.training, len(one._forward_hooks), [(n, v.clone()) for n, v in one.named_buffers(recurse=False)])
        for module in modules
        for one in module.modules()
    ]


def assert_unchanged(before, after):
    for (training, hooks, buffers), (later, still, values) in zip(before, after, strict=True):
        assert (later, still) == (training, hooks)
        for (name, value), (other, kept) in zip(buffers, values, strict=True):
            assert name == other
            assert torch.equal(value, kept)


def same(found, expected):
    if isinstance(found, Exception):
        raise found
    return torch.equal(torch.as_tensor(found).nan_to_num(), torch.as_tensor(expected).nan_to_num())


@pytest.mark.parametrize(("road", "place"), [*((road, "before") for road in ROADS), ("call", "after")])
def test_two_threads_on_one_encoder(road, place):
    encoder, call = gated_encoder(normalized=road != "explain fam"), ROADS[road]
    queries = batch(2, seed=1), batch(2, seed=2)
    expected = [call(encoder, query) for query in queries]
    before = state(encoder.network, encoder.head)
    gate = getattr(encoder.network, place)
    found = met(gate, lambda: call(encoder, queries[0]), lambda: call(encoder, queries[1]))
    assert all(same(*pair) for pair in zip(found, expected, strict=True))
    assert_unchanged(before, state(encoder.network, encoder.head))


def twice_wrapped():
    network = Gated().train()
    return network.before, [Encoder.wrap(network, "inner.activation"), Encoder.wrap(network, "inner.conv")]


def with_a_shared_part():
    shared = nn.Sequential(Gate(), tiny_network()).train()
    return shared[0], [Encoder.wrap(nn.Sequential(shared, nn.ReLU()), shared[1].activation) for _ in range(2)]


def with_a_shared_head():
    head = nn.Sequential(Gate(), nn.BatchNorm1d(CHANNELS)).train()
    return head[0], [Encoder.wrap(tiny_network(seed), "activation", head=head) for seed in range(2)]


@pytest.mark.parametrize("made", [twice_wrapped, with_a_shared_part, with_a_shared_head])
def test_two_encoders_that_share_modules(made):
    gate, encoders = made()
    queries = batch(2, seed=1), batch(2, seed=2)
    expected = [one(query).embedding for one, query in zip(encoders, queries, strict=True)]
    before = state(*(encoder.network for encoder in encoders), encoders[0].head)
    calls = [lambda n=n: encoders[n](queries[n]).embedding for n in range(2)]
    assert all(same(*pair) for pair in zip(met(gate, *calls), expected, strict=True))
    assert_unchanged(before, state(*(encoder.network for encoder in encoders), encoders[0].head))


def test_a_thread_of_the_users_own_does_not_reach_the_maps():
    """Nobody can make a call wait that knows no turns, but its maps are not taken for those of the encoder."""
    network = Gated().eval()
    encoder = Encoder.wrap(network, "inner.activation")
    query, other = batch(1, seed=1), batch(1, seed=2)
    maps = encoder(query).maps
    logits = class_logit.class_logit_map(encoder, query).cells
    for road, expected in ((lambda: encoder(query).maps, maps), (ROADS["class logit grad-cam"], logits)):
        call = road if expected is maps else (lambda road=road: road(encoder, query))
        found = met(network.before, call, lambda: network.inner(other).requires_grad)
        assert same(found[0], expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
def test_a_copy_of_an_encoder_has_turns_of_its_own(copied):
    encoder = Encoder.wrap(tiny_network(), "activation")
    expected = encoder(batch(1)).maps
    other, found = copied(encoder), []

    def ask():
        found.append(other(batch(1)).maps)

    with evaluating(encoder.network):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
    assert torch.equal(found[0], expected)


@pytest.mark.parametrize("inference", ["folded", "bf16"])
def test_a_folded_copy_is_not_the_network(inference):
    """It holds other modules, so that both run at once."""
    network = tiny_network().eval()
    folded, found = Encoder.wrap(network, "activation", inference=inference), []
    expected = folded(batch(1)).maps
    with evaluating(network):
        thread = threading.Thread(target=lambda: found.append(folded(batch(1)).maps))
        thread.start()
        thread.join(5)
    assert torch.equal(found[0], expected)


def test_a_network_may_call_its_own_encoder():
    """Once more inside of a forward pass, as a similarity or a head may."""
    network = tiny_network()
    encoder = Encoder.wrap(network, "activation")
    expected = encoder(batch(1)).embedding

    class Asking(nn.Module):
        def forward(self, pooled):
            return encoder(batch(1)).embedding.expand_as(pooled)

    asking = Encoder.wrap(network, "activation", head=Asking())
    assert torch.equal(asking(batch(2)).embedding, expected.expand(2, -1))
