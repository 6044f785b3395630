"""Traces go wherever features go: batches, files, pickles, banks, episodes, mosaics, threads and half precision."""

import copy
import pickle
import warnings
from dataclasses import replace

import jaxtyping
import pytest
import torch
from forced_threads import Gate, met
from token_networks import readouts_of, shaken, timm_vit, token_encoder, token_images, token_network
from torch import nn

import retrieval_explain
from episodes import DigitScenes, direct_resize
from fsl_explain import Encoder, Explanation, correspondence, explain, load_explanation, support_audit
from fsl_explain.cli.from_settings import episodes_of, mosaics_of
from fsl_explain.config import EvaluationConfig, MosaicsConfig
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.evaluation.mosaics.explained_mosaics import fitted_head
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.features import joined
from fsl_explain.traces import Addends, indexed, unflattened, written_out
from retrieval_explain import MemoryBank
from retrieval_explain.inspection.rank_change import rank_change

NAME = "timm registers"
READOUTS = readouts_of(NAME)
of_readouts = pytest.mark.parametrize("readout", READOUTS)
SUPPORTS = token_images(2, 2, seed=1)


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def assert_same(found, expected, **tolerance):
    tolerance = tolerance or {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(found.cells, expected.cells, **tolerance)
    torch.testing.assert_close(found.exact_score, expected.exact_score, **tolerance)
    assert list(found.named) == list(expected.named)
    for name, value in expected.named.items():
        torch.testing.assert_close(found.named[name], value, **tolerance)


@of_readouts
def test_a_batch_is_its_queries_one_by_one(readout):
    encoder, queries = token_encoder(NAME, readout), token_images(3)
    together = explain(encoder, queries, SUPPORTS, method="contrast")
    for number, query in enumerate(queries):
        alone = explain(encoder, query, SUPPORTS, method="contrast")
        assert_same(together[number], alone)
        torch.testing.assert_close(together[number].support_cells, alone.support_cells, rtol=1e-9, atol=1e-12)


@of_readouts
def test_features_are_cut_and_joined(readout):
    features = token_encoder(NAME, readout)(token_images(6))
    again = joined([features[:2], features[2:]])
    shaped = features.unflatten(2, 3)
    assert shaped.embedding.shape[:2] == (2, 3)
    if features.trace is None:
        assert shaped.trace is again.trace is None
        return
    torch.testing.assert_close(again.trace.held, features.trace.held)
    torch.testing.assert_close(shaped[1].trace.held, features.trace.held[3:])
    torch.testing.assert_close(unflattened(features.trace, (2, 3)).held, features.trace.held.unflatten(0, (2, 3)))
    torch.testing.assert_close(indexed(features.trace, 3).addends(), features.trace.addends()[3])


@of_readouts
def test_a_trace_adds_up_to_the_pooled_value(readout):
    features = token_encoder(NAME, readout)(token_images(2))
    if features.trace is None:
        return
    torch.testing.assert_close(sum(features.trace.named.values(), features.trace.held), features.pooled)
    torch.testing.assert_close(features.trace.addends().sum(dim=(-2, -1)), features.trace.held)
    weights = torch.randn(3, 1, features.pooled.shape[-1], generator=torch.Generator().manual_seed(0)).double()
    expected = torch.einsum("qbn,bnhw->qbhw", weights.expand(-1, 2, -1), features.trace.addends())
    torch.testing.assert_close(features.trace.spread(weights), expected)
    out = written_out(features.trace)
    assert isinstance(out, Addends)
    torch.testing.assert_close(out.spread(weights), expected)
    assert list(out.named) == list(features.trace.named)


@of_readouts
def test_features_as_supports(readout):
    encoder = token_encoder(NAME, readout)
    features = encoder(SUPPORTS.flatten(0, 1)).unflatten(2, 2)
    found = explain(encoder, token_images(), features, method="contrast")
    assert_same(found, explain(encoder, token_images(), SUPPORTS, method="contrast"))
    out = replace(features, trace=written_out(features.trace))
    other = explain(encoder, token_images(), out, method="contrast")
    torch.testing.assert_close(other.support_cells, found.support_cells, rtol=1e-9, atol=1e-12)


@of_readouts
@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_an_explanation_is_kept(readout, way, tmp_path):
    found = explain(token_encoder(NAME, readout), token_images(), SUPPORTS, method="contrast")
    if way == "file":
        found.save(tmp_path / "found.safetensors")
        again = load_explanation(tmp_path / "found.safetensors")
    else:
        again = pickle.loads(pickle.dumps(found)) if way == "pickle" else copy.deepcopy(found)
    assert isinstance(again, Explanation)
    assert_same(again, found, rtol=0, atol=0)
    assert str(again.receipt()) == str(found.receipt())
    torch.testing.assert_close(correspondence(again).table, correspondence(found).table, rtol=0, atol=1e-15)
    assert str(support_audit(again)) == str(support_audit(found))


@of_readouts
def test_a_support_audit_is_of_embeddings_alone(readout):
    encoder = token_encoder(NAME, readout)
    found = explain(encoder, token_images(), SUPPORTS)
    audit = support_audit(found)
    torch.testing.assert_close(audit.addends, found.support_weights * found.similarities)
    fewer = {"class 0": SUPPORTS[0, 1:], "class 1": SUPPORTS[1]}
    without = explain(encoder, token_images(), fewer, target=int(found.target))
    torch.testing.assert_close(audit.scores_without[0, 0], without.decision.scores)


@of_readouts
def test_a_bank_of_embeddings(readout):
    encoder, gallery = on_scenes(readout), token_images(6, seed=3, dtype=torch.float32)
    bank = MemoryBank.from_embeddings(encoder(gallery).embedding, labels=list("aabbcc"))
    for rule in ("knn-vote", "nearest-neighbor", "majority-vote"):
        query = token_images(dtype=torch.float32)
        found = retrieval_explain.explain(encoder, query, bank, method="contrast", rule=rule, k=5)
        assert float(found.residual) <= 1e-5 * float(found.absolute_sum)
        assert found.cells.shape == (4, 4)


def test_the_cells_that_bring_an_image_to_the_first_rank():
    encoder, gallery = on_scenes("class"), token_images(12, seed=3, dtype=torch.float32)
    embeddings = encoder(gallery).embedding
    bank, found = MemoryBank.from_embeddings(embeddings, labels=list("aabbccddeeff")), 0
    for seed in range(8):
        retrieved = retrieval_explain.retrieve(encoder, token_images(seed=seed, dtype=torch.float32), bank, k=12)
        first, second = retrieved.neighbors.indices[:2]
        change = rank_change(retrieved, int(second), first[None], 1)
        assert change.rank_before == 2
        if change.found:
            written = retrieved.features.trace.addends()[:, change.mask].double().sum(dim=-1)
            with torch.no_grad():
                left = encoder.head((retrieved.features.pooled - written).float())
            scores = torch.cosine_similarity(left, embeddings)
            assert scores[second] == scores.max()
            found += 1
    assert found > 0


def on_scenes(readout):
    """An encoder of the demo's images, of 32 pixels."""
    network = token_network(NAME, torch.float32)
    resize = direct_resize(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Encoder.wrap(network, readout=readout, preprocess=resize)


@of_readouts
def test_a_store_of_images_keeps_traces_that_are_written_out(readout):
    encoder, dataset = on_scenes(readout), DigitScenes(part="novel", per_class=2, size=32)
    store, rows = embed_unique(encoder, dataset, range(6), 4, lambda _count: None), torch.tensor([5, 0])
    kept, made = store.features(rows), encoder(store.images(rows))
    if readout == "mean":
        assert kept.trace is made.trace is None
        torch.testing.assert_close(kept.maps, made.maps, rtol=1e-4, atol=1e-5)
        return
    assert isinstance(kept.trace, Addends)
    weights = torch.randn(2, made.pooled.shape[-1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(kept.trace.spread(weights), made.trace.spread(weights), rtol=1e-4, atol=1e-5)
    for name, value in made.trace.named.items():
        torch.testing.assert_close(kept.trace.named[name], value, rtol=1e-4, atol=1e-5)


@of_readouts
def test_episodes_are_measured(readout):
    settings = {"data": {"kind": "digit-scenes", "per_class": 4}, "episodes": {"count": 2, "n_shot": 1, "n_query": 2}}
    chosen = EvaluationConfig.model_validate(settings | {"explanation": {"methods": ["exact", "contrast"]}})
    chunk = episodes_of(chosen, on_scenes(readout), DigitScenes(part="novel", per_class=4, size=32))
    assert len(chunk.decisions.image) == 2


@of_readouts
def test_mosaics_are_measured_behind_the_readouts_own_norm(readout, tmp_path):
    sizes = {"count": 4, "heads": ["none", "center"], "methods": ["exact", "contrast"]}
    settings = MosaicsConfig.model_validate({"data": {"kind": "digit-scenes"}, "mosaics": sizes})
    dataset = DigitScenes(part="novel", per_class=6, size=32)
    encoder = on_scenes(readout)
    store, figures = mosaics_of(settings.mosaics, settings.run, encoder, dataset, partial=tmp_path)
    with torch.no_grad():
        asked = encoder.head(store.pooled.to(torch.float32))
        torch.testing.assert_close(fitted_head("none", store)(store.pooled.double()).float(), asked)
    for head in figures.values():
        for method in ("exact", "contrast"):
            assert float(head.methods[method].residual.max()) <= 1e-5


class Gated(nn.Module):
    """A first convolution that lets two threads meet."""

    def __init__(self, inner):
        super().__init__()
        self.gate, self.inner = Gate(), inner

    def forward(self, images):
        return self.gate(self.inner(images))


@of_readouts
def test_two_threads_get_what_one_gets(readout):
    network = token_network(NAME)
    network.patch_embed = Gated(network.patch_embed)
    encoder, queries = Encoder.wrap(network, readout=readout), (token_images(seed=5), token_images(seed=6))
    expected = [explain(encoder, query, SUPPORTS) for query in queries]
    calls = [lambda query=query: explain(encoder, query, SUPPORTS) for query in queries]
    for found, one in zip(met(network.patch_embed.gate, *calls), expected, strict=True):
        assert_same(found, one, rtol=0, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@of_readouts
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_explained_in_full(readout, dtype):
    """The embedding is the network's own in half precision, of which the addends are made again in float32."""
    half, full = token_encoder(NAME, readout, dtype), token_encoder(NAME, readout, torch.float32)
    query, supports = token_images(2, dtype=torch.float32), SUPPORTS.float()
    found, expected = (explain(one, query, supports, method="exact") for one in (half, full))
    assert found.cells.dtype == torch.float32
    rounding = {torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    assert (found.residual <= rounding * found.absolute_sum).all()
    size = expected.cells.abs().sum(dim=(-2, -1))
    assert ((found.cells - expected.cells).abs().amax(dim=(-2, -1)) <= 10 * rounding * size).all()


@of_readouts
@pytest.mark.parametrize("inference", ["folded", "bf16"])
def test_faster_forms(readout, inference):
    network = token_network(NAME, torch.float32)
    query, supports = token_images(dtype=torch.float32), SUPPORTS.float()
    expected = explain(Encoder.wrap(network, readout=readout), query, supports)
    found = explain(Encoder.wrap(network, readout=readout, inference=inference), query, supports)
    close = 2e-2 if inference == "bf16" else 1e-5
    assert found.residual <= close * found.absolute_sum
    assert abs(found.exact_score - expected.exact_score) <= 5 * close


@of_readouts
@pytest.mark.parametrize("size", [(32, 48), (48, 32), (40, 64)])
def test_images_that_are_not_square(readout, size):
    network = shaken(timm_vit(reg_tokens=2, dynamic_img_size=True))
    supports = token_images(2, 2, seed=1, size=size)
    found = explain(Encoder.wrap(network, readout=readout), token_images(size=size), supports, method="contrast")
    assert found.cells.shape == (size[0] // 8, size[1] // 8)
    assert found.saliency.shape == size
    assert found.residual <= 1e-12
    assert correspondence(found).pairs.shape == (*found.cells.shape, *found.cells.shape)
    assert counterfactual(Encoder.wrap(network, readout=readout), token_images(size=size), supports).mask.shape == (
        size[0] // 8,
        size[1] // 8,
    )


@of_readouts
def test_an_encoder_is_moved(readout):
    encoder = token_encoder(NAME, readout)
    before = explain(encoder, token_images(), SUPPORTS)
    assert_same(explain(encoder.to("cpu"), token_images(), SUPPORTS), before, rtol=0, atol=0)


@of_readouts
def test_the_network_is_given_back_as_it_was(readout):
    network = token_network(NAME).train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(Encoder.wrap(network, readout=readout), token_images(), SUPPORTS)
    assert network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_weights_that_are_trained_on_are_those_that_are_explained():
    """The layers of a trace share the network's parameters, so that an encoder follows its network."""
    encoder = token_encoder(NAME, "class")
    before = explain(encoder, token_images(), SUPPORTS)
    with torch.no_grad():
        encoder.network.blocks[2].attn.qkv.weight[-24:] *= 2
    after = explain(encoder, token_images(), SUPPORTS)
    assert after.residual <= 1e-12
    assert (after.cells - before.cells).abs().max() > 1e-3
