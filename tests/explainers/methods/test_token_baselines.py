"""Attention, rollout, Chefer, LeGrad and value paths against a transformer in NumPy and derivatives by differences."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from references import token_baselines as reference
from small_transformers import HEADS, NETWORKS, WIDTH, pictures, timm_cait, timm_eager, timm_vit, torchvision_vit
from tiny_encoder import images as small_images
from tiny_encoder import tiny_encoder
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.backbones.tokens.attentions import attend
from fsl_explain.explainers.methods import token_queries
from fsl_explain.explainers.methods.attention_rollout import over_all_tokens, rollout
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.readouts.block import frozen
from fsl_explain.registries import TOKEN_METHODS

EPS = 1e-6
every_method = pytest.mark.parametrize("method", TOKEN_METHODS)


SUPPORTS = {"a": pictures(2, seed=2), "b": pictures(1, seed=3)}


def blocks_of(network):
    """The weights of torchvision's blocks, by the letters of the reference."""
    found = []
    for one in network.encoder.layers:
        Wq, Wk, Wv = one.self_attention.in_proj_weight.chunk(3)
        bq, bk, bv = one.self_attention.in_proj_bias.chunk(3)
        names = {
            "g1": one.ln_1.weight, "b1": one.ln_1.bias, "g2": one.ln_2.weight, "b2": one.ln_2.bias,
            "Wq": Wq, "Wk": Wk, "Wv": Wv, "bq": bq, "bk": bk, "bv": bv,
            "Wo": one.self_attention.out_proj.weight, "bo": one.self_attention.out_proj.bias,
            "W1": one.mlp[0].weight, "c1": one.mlp[0].bias, "W2": one.mlp[3].weight, "c2": one.mlp[3].bias,
        }  # fmt: skip
        found.append({name: value.detach().numpy() for name, value in names.items()})
    return found


class Slow:
    """The reference for one query of a torchvision network, of one readout, in the mean of cosines to class a."""

    def __init__(self, network, readout, query, target):
        self.readout, self.blocks = readout, blocks_of(network)
        entered = []
        handle = network.encoder.layers[0].register_forward_pre_hook(lambda _m, args: entered.append(args[0]))
        network(query[None])
        handle.remove()
        self.x = entered[0][0].detach().numpy()
        ln = network.encoder.ln
        self.gain, self.bias = ln.weight.detach().numpy(), ln.bias.detach().numpy()
        self.supports = [Encoder.wrap(network, readout=readout)(one[None]).embedding[0].numpy() for one in target]

    def normalized(self, x):
        return reference.norm(x, self.gain, self.bias, EPS)

    def embedding(self, x, class_token=None):
        """Read tokens out: the class token's, or another's in its place, and the patches' mean."""
        token, mean = self.normalized(x[0] if class_token is None else class_token), self.normalized(x[1:]).mean(axis=0)
        return {"class": token, "mean": mean, "class+mean": np.concatenate([token, mean])}[self.readout]

    def score(self, z):
        cosines = [z @ s / np.linalg.norm(z) / np.linalg.norm(s) for s in self.supports]
        return sum(cosines) / len(cosines)

    def run(self, given=None):
        return reference.run(self.x, self.blocks, HEADS, EPS, given)

    def gradients(self, legrad):
        A = self.run()[1]
        found = []
        for l in range(len(A)):

            def score(changed, l=l):
                tokens = self.run((l, changed))[0][l if legrad else -1]
                return self.score(self.embedding(tokens, tokens.mean(axis=0) if legrad else None))

            found.append(reference.derivative(score, A[l]))
        return found

    def row(self, R):
        """Read a matrix over tokens out at the patches, as the readout weighs the tokens."""
        both = (R[0] + R[1:].mean(axis=0)) / 2
        return {"class": R[0], "mean": R[1:].mean(axis=0), "class+mean": both}[self.readout][1:]

    def map(self, method):
        behind, A = self.run()
        if method == "attention":
            return self.row(A[-1].mean(axis=0))
        if method == "rollout":
            return self.row(reference.rollout(A))
        if method == "chefer":
            return self.row(reference.chefer(A, self.gradients(legrad=False)))
        if method == "legrad":
            return reference.legrad(self.gradients(legrad=True))[1:]
        tokens = reference.value_path(behind[-2], self.blocks[-1], EPS)[1:]
        return np.array([self.score(self.embedding(np.stack([one, one]))) for one in tokens])


@pytest.mark.parametrize("readout", ["class", "mean", "class+mean"])
@every_method
def test_each_map_is_that_of_the_slow_writing(method, readout):
    network, query = torchvision_vit(), pictures(seed=1)
    found = explain(Encoder.wrap(network, readout=readout), query, SUPPORTS, method=method, target="a")
    expected = Slow(network, readout, query, SUPPORTS["a"]).map(method)
    torch.testing.assert_close(found.cells.flatten().numpy(), expected, rtol=1e-6, atol=1e-9)
    assert expected.std() > 1e-4
    assert found.contributions.isnan().all()
    assert found.bias.isnan()
    assert not found.support_cells.nan_to_num(0).any()
    assert not found.signed


@every_method
def test_the_map_is_stretched_between_0_and_1(method):
    found = explain(Encoder.wrap(torchvision_vit()), pictures(seed=1), SUPPORTS, method=method)
    assert (float(found.saliency.min()), float(found.saliency.max())) == (0, 1)
    assert found.saliency.flatten().argmax() in torch.topk(found.saliency.flatten(), 1).indices


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_heard_is_what_the_network_attends_to(name):
    """The rows of the class token, against those that its layers give; and the network goes on as before."""
    network = NETWORKS[name]()
    encoder, queries = Encoder.wrap(network, readout="class"), pictures(2, seed=1)
    found, heard = encoder(queries), attend(encoder.tokens, queries)
    torch.testing.assert_close(heard.read.pooled, found.pooled)
    plan, entered = found.trace.plan, found.trace.tokens
    for rows, block, tokens in zip(heard.rows, plan.blocks, entered, strict=True):
        torch.testing.assert_close(rows[:, :, :1], frozen(block, tokens, (0,)).attention)
        torch.testing.assert_close(rows.sum(dim=-1), torch.ones_like(rows[..., 0]))
        assert rows.requires_grad


def test_the_same_network_by_fused_attention_and_by_softmax_has_the_same_maps():
    for method in TOKEN_METHODS:
        one, other = (
            explain(Encoder.wrap(network()), pictures(seed=1), SUPPORTS, method=method)
            for network in (timm_vit, timm_eager)
        )
        torch.testing.assert_close(one.cells, other.cells)


def test_a_block_in_which_few_ask_leaves_the_others_what_they_are():
    rows = torch.rand(2, 1, 5).softmax(dim=-1)
    found = rollout(torch.full((2, 5), 0.2), [over_all_tokens(rows), over_all_tokens(rows)])
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2))
    only = rollout(torch.eye(5)[3].expand(2, 5), [over_all_tokens(rows)])
    torch.testing.assert_close(only, torch.eye(5)[3].expand(2, 5))


class Pooled:
    """Attention pooling by its own weights: what it attends to, and the score for any such matrix."""

    def __init__(self, network, supports):
        self.pool, self.supports = network.attn_pool, supports

    def attention(self, tokens):
        pool, d = self.pool, WIDTH // HEADS
        q = pool.q(pool.latent)[0, 0].reshape(HEADS, d)
        k = (tokens @ pool.kv.weight[:WIDTH].T + pool.kv.bias[:WIDTH]).reshape(-1, HEADS, d)
        return (torch.einsum("hd,thd->ht", q, k) / d**0.5).softmax(dim=-1)

    def score(self, A, tokens):
        pool = self.pool
        v = (tokens @ pool.kv.weight[WIDTH:].T + pool.kv.bias[WIDTH:]).reshape(len(tokens), HEADS, -1)
        x = pool.proj(torch.einsum("ht,thd->hd", A, v).flatten())
        x = x + pool.mlp(pool.norm(x[None, None]))[0, 0]
        return torch.cosine_similarity(x, self.supports).mean()


@torch.no_grad()
def test_attention_that_pools_is_what_is_read_out():
    network, query = timm_vit(global_pool="map", class_token=False), pictures(seed=1)
    encoder = Encoder.wrap(network)
    behind = []
    handles = [one.register_forward_hook(lambda *of: behind.append(network.norm(of[-1])[0])) for one in network.blocks]
    network(query[None])
    for handle in handles:
        handle.remove()
    slow = Pooled(network, encoder(SUPPORTS["a"]).embedding)
    gradients = []
    for tokens in behind:
        A = slow.attention(tokens)
        changed = lambda one, tokens=tokens: float(slow.score(torch.from_numpy(one), tokens))  # noqa: E731
        gradients.append(torch.from_numpy(reference.derivative(changed, A.numpy())))
    maps = {m: explain(encoder, query, SUPPORTS, method=m, target="a").cells.flatten() for m in TOKEN_METHODS}
    last = slow.attention(behind[-1])
    torch.testing.assert_close(maps["attention"], last.mean(dim=0))
    legrad = sum(one.clamp(min=0).mean(dim=0) for one in gradients) / len(gradients)
    torch.testing.assert_close(maps["legrad"], legrad, rtol=1e-6, atol=1e-9)
    rows = attend(encoder.tokens, query[None]).rows
    R = torch.from_numpy(reference.rollout([one[0].detach().numpy() for one in rows]))
    torch.testing.assert_close(maps["rollout"], last.mean(dim=0) @ R)
    alone = [slow.score(torch.ones(HEADS, 1, dtype=torch.float64), one[None]) for one in behind[-1]]
    torch.testing.assert_close(maps["value-path"], torch.stack(alone))
    read_out = (gradients[-1] * last).clamp(min=0).mean(dim=0)
    assert maps["chefer"].sub(read_out).abs().max() < read_out.abs().max()  # what the blocks add comes on top
    assert (maps["chefer"] >= read_out - 1e-9).all()


@every_method
def test_queries_of_a_batch_do_not_touch_each_other(method, monkeypatch):
    encoder, queries = Encoder.wrap(torchvision_vit()), pictures(3, seed=1)
    monkeypatch.setattr(token_queries, "AT_ONCE", 2)
    together = explain(encoder, queries, SUPPORTS, method=method)
    for i in range(3):
        torch.testing.assert_close(
            together[i].cells, explain(encoder, queries[i], SUPPORTS, method=method).cells, rtol=1e-7, atol=1e-10
        )
    torch.testing.assert_close(METHODS[method].attribute(together[2].question).cells, together[2].cells)


@every_method
def test_votes_and_other_similarities_are_explained(method):
    encoder, queries = Encoder.wrap(torchvision_vit()), pictures(2, seed=1)
    for rule, similarity in (("knn-vote", "cosine"), ("prototype", "euclidean"), ("nearest-neighbor", "inner-product")):
        found = explain(encoder, queries, SUPPORTS, method=method, rule=rule, similarity=similarity)
        assert found.cells.isfinite().all()


@every_method
def test_the_network_is_given_back_as_it_was(method):
    network = torchvision_vit().train()
    for parameter in network.encoder.layers[0].parameters():
        parameter.requires_grad_(False)
    before = {name: (one.clone(), one.requires_grad) for name, one in network.named_parameters()}
    with torch.inference_mode():
        explain(Encoder.wrap(network), pictures(seed=1), SUPPORTS, method=method)
    for name, one in network.named_parameters():
        assert torch.equal(one, before[name][0])
        assert one.requires_grad == before[name][1]
        assert one.grad is None
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert torch.overrides._get_current_function_mode() is None


@every_method
def test_threads_that_share_a_network_do_not_hear_each_other(method):
    encoder, queries = Encoder.wrap(torchvision_vit()), pictures(4, seed=1)
    alone = [explain(encoder, query, SUPPORTS, method=method).cells for query in queries]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda query: explain(encoder, query, SUPPORTS, method=method).cells, queries))
    torch.testing.assert_close(together, alone)


@every_method
def test_a_frozen_network_has_the_same_map(method):
    network = torchvision_vit()
    free = explain(Encoder.wrap(network), pictures(seed=1), SUPPORTS, method=method)
    frozen_one = explain(Encoder.wrap(network.requires_grad_(False)), pictures(seed=1), SUPPORTS, method=method)
    torch.testing.assert_close(free.cells, frozen_one.cells)


@every_method
def test_a_network_without_tokens_is_refused(method):
    with pytest.raises(ValueError, match=r"reads the tokens of a vision transformer, but .* is read out from activ"):
        explain(tiny_encoder(), small_images(seed=1), {"a": small_images(1, seed=2)}, method=method)


class Silent(nn.Module):
    """Attention by a kernel that nobody hears: without softmax and without PyTorch's functions."""

    def __init__(self, inner):
        super().__init__()
        self.__dict__.update(inner.__dict__)

    def forward(self, x, *_args, **_kwargs):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT * self.scale).exp()
        return self.proj((weights / weights.sum(dim=-1, keepdim=True) @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("method", ["attention", "rollout", "chefer", "legrad"])
def test_attention_that_nobody_hears_is_refused(method):
    network = timm_vit()
    network.blocks[0].attn = Silent(network.blocks[0].attn)
    with pytest.raises(ValueError, match=r"to attend once, by softmax or by .* but 0 matrices of 5 tokens were heard"):
        explain(Encoder.wrap(network), pictures(seed=1), SUPPORTS, method=method)


def test_patches_that_attend_where_nobody_listens_are_refused():
    with pytest.raises(ValueError, match="let the class token alone ask, and the readout is 'mean'"):
        explain(Encoder.wrap(timm_cait(), readout="mean"), pictures(seed=1), SUPPORTS, method="rollout")
