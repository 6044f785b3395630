"""Encoders whose forward pass is compiled: the maps of the folded network, few compilations, sentences where it fails.

Most of these tests let PyTorch trace the network and run the graph as it is, which takes no compiler; one compiles.
"""

import copy
import pickle
import shutil
import threading
from functools import partial

import jaxtyping
import pytest
import torch
import torch._dynamo
from tiny_encoder import images, random_head, tiny_network
from token_networks import token_images, token_network
from torch import nn
from torch._dynamo.utils import counters

from fsl_explain import Encoder, explain
from fsl_explain.backbones.wrappers import COMPILING
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.turns import alone
from retrieval_explain.store.encoder_fingerprint import fingerprint
from tests.encoder.test_inference_modes import with_statistics

TORCH_COMPILE = torch.compile
BATCH = images(3, dtype=torch.float32)


@pytest.fixture(autouse=True)
def traced(monkeypatch):
    """Run graphs as they are traced; checks of shapes and types are no part of a graph."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(torch, "compile", partial(TORCH_COMPILE, backend="eager"))
    monkeypatch.setattr(shutil, "which", lambda name: name)


def encoder_of(inference="compiled", layer="activation", network=None, **options):
    return Encoder.wrap(network or with_statistics(tiny_network()), layer, inference=inference, **options)


def graphs():
    return counters["stats"]["unique_graphs"]


def assert_same(found, expected):
    for one, other in ((found.maps, expected.maps), (found.embedding, expected.embedding)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_a_compiled_network_gives_the_maps_of_the_network_itself(monkeypatch):
    """Within 1e-5 of the largest value, as the folded one does; it is compiled for single images and for batches."""
    monkeypatch.undo()
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    eager, compiled = encoder_of("eager"), encoder_of()
    before = graphs()
    for count in (3, 5, 1, 7, 2, 1):
        batch = images(count, seed=count, dtype=torch.float32)
        found, expected = compiled(batch), eager(batch)
        largest = float(expected.maps.abs().max())
        torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=1e-5 * largest)
        torch.testing.assert_close(found.embedding, expected.embedding, rtol=0, atol=1e-5 * largest)
    assert graphs() - before == 2


@pytest.mark.parametrize("layer", ["conv", "norm", "activation"])
def test_batches_of_all_sizes_take_two_graphs_and_images_of_other_sides_two_more(layer):
    folded, compiled, before = encoder_of("folded", layer), encoder_of("compiled", layer), graphs()
    for count in (3, 5, 1, 7, 2, 1):
        batch = images(count, seed=count, dtype=torch.float32)
        assert_same(compiled(batch), folded(batch))
    assert graphs() - before == 2
    for side, count in ((8, 2), (10, 1), (12, 4), (14, 1), (16, 3)):
        batch = torch.randn(count, 3, side, side + 2, generator=torch.Generator().manual_seed(side))
        assert_same(compiled(batch), folded(batch))
    assert graphs() - before <= 6


@pytest.mark.parametrize("readout", ["class", "mean"])
def test_tokens_are_heard_in_the_graph(readout):
    network, before = token_network("timm registers", torch.float32), graphs()
    folded, compiled = (Encoder.wrap(network, readout=readout, inference=mode) for mode in ("folded", "compiled"))
    for seed in (0, 1):
        query, supports = token_images(seed=seed, dtype=torch.float32), token_images(2, 2, seed=2).float()
        expected, found = (explain(encoder, query, supports) for encoder in (folded, compiled))
        torch.testing.assert_close(found.cells, expected.cells, rtol=0, atol=1e-6)
        assert float(found.exact_score) == pytest.approx(float(expected.exact_score), abs=1e-6)
    assert graphs() - before == 2


def test_maps_pooled_by_attention_are_heard_in_the_graph():
    pool = pytest.importorskip("timm.layers").AttentionPool2d(8, feat_size=3, out_features=5, num_heads=2)
    network = nn.Sequential()
    network.add_module("conv", nn.Conv2d(3, 8, 2, stride=2))
    network.add_module("attnpool", pool)
    folded, compiled = (Encoder.wrap(network.eval(), inference=mode) for mode in ("folded", "compiled"))
    batch, before = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)), graphs()
    assert compiled.tokens is not None
    assert_same(compiled(batch), folded(batch))
    assert graphs() - before == 1


def test_a_layer_behind_may_overwrite_the_maps():
    network = nn.Sequential(nn.Conv2d(3, 4, kernel_size=2), nn.ReLU(inplace=True))
    folded, compiled = (encoder_of(mode, "0", network, tail="ignore") for mode in ("folded", "compiled"))
    assert_same(compiled(BATCH), folded(BATCH))
    assert (compiled(BATCH).maps < 0).any()


def test_what_the_network_goes_on_to_is_compiled_where_it_is_compared():
    folded, compiled = (encoder_of(mode, tail="network") for mode in ("folded", "compiled"))
    assert_same(compiled(BATCH), folded(BATCH))
    assert compiled(BATCH).embedding.shape == (3, 3)
    expected, found = (explain(one, BATCH[0], BATCH[None, 1:]) for one in (folded, compiled))
    torch.testing.assert_close(found.cells, expected.cells, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["exact", "grad-cam", "integrated-gradients"])
def test_finer_maps_and_derivatives_are_those_of_the_network_itself(method):
    options = {"detail": 1} if method == "exact" else {}
    folded, compiled = (encoder_of(mode, head=random_head("linear")) for mode in ("folded", "compiled"))
    query, supports = images(dtype=torch.float32), images(2, 2, seed=1, dtype=torch.float32)
    expected, found = (explain(one, query, supports, method=method, **options) for one in (folded, compiled))
    torch.testing.assert_close(found.cells, expected.cells, rtol=0, atol=1e-6)
    assert not any(module._forward_hooks for module in compiled.network.modules())


def test_derivatives_trace_nothing():
    encoder, pixels = encoder_of(), BATCH.clone().requires_grad_()
    encoder(BATCH)
    before = graphs()
    encoder.run(encoder.reading.maps, pixels).sum().backward()
    assert graphs() == before
    assert (pixels.grad != 0).any()


def test_finer_maps_trace_nothing():
    before = graphs()
    found = encoder_of().with_detail(1)(BATCH)
    assert graphs() == before
    torch.testing.assert_close(found.maps, encoder_of("folded")(BATCH).maps, rtol=0, atol=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda encoder: pickle.loads(pickle.dumps(encoder))])
def test_a_copy_compiles_for_itself(copied):
    encoder, expected = encoder_of(), encoder_of("folded")(BATCH)
    encoder(BATCH)
    other, before = copied(encoder), graphs()
    assert_same(other(BATCH), expected)
    assert graphs() - before == 1
    assert other.reading.compiled.network is other.network


def test_an_encoder_with_another_head_shares_what_is_compiled():
    encoder = encoder_of()
    encoder(BATCH)
    before = graphs()
    encoder.with_head(nn.Flatten())(BATCH)
    assert graphs() == before


def test_a_network_that_is_moved_or_changed_is_seen():
    encoder = encoder_of(layer="conv")  # whose normalization stays, with buffers
    encoder(BATCH)
    with torch.no_grad():
        encoder.network.conv.weight.mul_(2)
    assert_same(encoder(BATCH), encoder_of("eager", "conv", network=encoder.network)(BATCH))
    encoder.network.double()
    assert encoder(BATCH).maps.dtype == torch.float64
    assert_same(encoder(BATCH), encoder_of("eager", "conv", network=encoder.network)(BATCH))


def test_a_bank_takes_it_for_the_folded_network():
    marks = [fingerprint(encoder_of(mode)) for mode in ("compiled", "folded", "eager")]
    assert marks[0] == marks[1] != marks[2]


def test_a_compiled_pass_waits_while_another_thread_forbids_compiled_code():
    """Who reads a network that its user has compiled forbids it to all threads meanwhile."""
    encoder, found = encoder_of(), []
    expected = encoder(BATCH).maps
    thread = threading.Thread(target=lambda: found.append(encoder(BATCH).maps))
    with alone([COMPILING]):
        thread.start()
        thread.join(0.5)
        assert not found
    thread.join()
    assert torch.equal(found[0], expected)


def test_beyond_the_limit_of_graphs_the_network_itself_runs():
    encoder, folded = encoder_of(), encoder_of("folded")
    with torch._dynamo.config.patch(recompile_limit=1):
        for count in (3, 1, 4):
            batch = images(count, dtype=torch.float32)
            assert_same(encoder(batch), folded(batch))


def test_many_encoders_have_graphs_of_their_own():
    for _ in range(2):
        encoder, before = encoder_of(), graphs()
        with torch._dynamo.config.patch(recompile_limit=2):
            encoder(BATCH)
            encoder(BATCH[:1])
        assert graphs() - before == 2


def test_without_a_compiler_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setenv("CXX", "ccache-of-nobody -v")
    sentence = r"expected a C\+\+ compiler for inference='compiled', but ccache-of-nobody -v is not found; install it, "
    with pytest.raises(ValueError, match=sentence):
        Encoder.named("conv4net", channels=2, inference="compiled")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    encoder_of()


def test_a_compiler_that_fails_is_one_sentence(monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("\n no room left\nand a page more")

    monkeypatch.setattr(torch, "compile", fail)
    sentence = (
        r"TinyNetwork: expected a network that PyTorch compiles as one graph for inference='compiled', but got "
        r"RuntimeError: no room left; use inference='folded'\.\Z"
    )
    with pytest.raises(ValueError, match=sentence):
        encoder_of()(BATCH)


class Branching(nn.Module):
    """What it does depends on its values, which no graph can hold."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, kernel_size=2)

    def forward(self, pictures):
        maps = self.conv(pictures)
        return maps if float(maps.sum()) > 0 else -maps


def test_a_network_of_no_one_graph_is_one_sentence_and_its_own_errors_stay():
    with pytest.raises(ValueError, match=r"Branching: expected a network that PyTorch compiles as one graph for"):
        Encoder.wrap(Branching(), inference="compiled")(BATCH)
    encoder = encoder_of()
    encoder(BATCH)
    with pytest.raises(ValueError, match="expected images of 3 channels, as the network reads them, but got 2"):
        encoder(BATCH[:, :2])


def test_patches_that_are_integrated_are_refused():
    network = token_network("timm vit", torch.float32)
    with pytest.raises(ValueError, match="beside readout='integrated', for which layers are heard anew"):
        Encoder.wrap(network, readout="integrated", inference="compiled")


def test_commands_say_that_it_takes_long(capsys):
    for mode in ("folded", "compiled"):
        say_beforehand(encoder_of(mode))
    said = "TinyNetwork: compiling the network with the first images may take some minutes.\n"
    assert capsys.readouterr().err == said
