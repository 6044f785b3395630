"""What the network's own pass showed of its class token is what its layers would give, and is not computed again."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from token_networks import PAIRS, token_encoder, token_images

from fsl_explain.readouts.block import Heard
from fsl_explain.readouts.stream import StreamTrace
from fsl_explain.traces import SideBySide

OF_TOKENS = [pair for pair in PAIRS if pair[1] != "mean"]
OF_THE_CLASS_TOKEN = [pair for pair in OF_TOKENS if pair[1] in ("class", "class-direct", "class-last")]
GATED = ("timm swiglu", "timm eva", "transformers dinov2 swiglu")


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def trace_of(name, readout, images=2, dtype=torch.float64):
    return token_encoder(name, readout, dtype)(token_images(images, dtype=dtype)).trace


def drawn(trace, *leading):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*leading, trace.held.shape[-1], generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("name", "readout"), OF_TOKENS)
def test_what_is_pulled_back_is_what_is_pushed_forward(name, readout):
    """Cells and named parts along weights, by two roads through the blocks; the weights of several queries at once."""
    trace = trace_of(name, readout)
    weights = drawn(trace, 3, 1)
    along = trace.along(weights)
    size = trace.addends().abs().sum(dim=(-3, -2, -1)).max()
    cells = torch.einsum("qbn,bnhw->qbhw", weights.expand(-1, 2, -1), trace.addends())
    assert (along.cells - cells).abs().max() <= 1e-10 * size
    assert list(along.named) == list(trace.named)
    for part, value in trace.named.items():
        assert along.named[part].shape == (3, 2)
        assert (along.named[part] - (value * weights).sum(dim=-1)).abs().max() <= 1e-10 * size


@pytest.mark.parametrize(("name", "readout"), OF_THE_CLASS_TOKEN)
def test_unheard_it_is_the_same(name, readout):
    trace = trace_of(name, readout)
    assert all(heard.after is not None for heard in trace.heard)
    assert all((heard.inside is None) == (name in GATED) for heard in trace.heard)
    alone, weights = replace(trace, heard=()), drawn(trace, 2)
    torch.testing.assert_close(alone.held, trace.held, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(alone.along(weights).cells, trace.along(weights).cells, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("part", ["after", "inside"])
def test_what_was_heard_decides_the_gains(part):
    """Another value that is heard gives other cells, so that the comparison above compares something."""
    trace = trace_of("timm vit", "class")
    others = [replace(one, **{part: getattr(one, part) * 1.5 + 0.1}) for one in trace.heard]
    weights = drawn(trace, 2)
    cells, wrong = (one.along(weights).cells for one in (trace, replace(trace, heard=tuple(others))))
    assert (cells - wrong).abs().max() > 1e-3 * cells.abs().max()


def test_half_precision_is_not_heard():
    """Its gains are computed in full precision instead."""
    trace = trace_of("timm vit", "class", dtype=torch.bfloat16)
    assert isinstance(trace, StreamTrace)
    assert trace.heard == (Heard(), Heard(), Heard())


def test_the_class_token_beside_the_mean_is_heard_too():
    trace = trace_of("timm registers", "class+mean")
    assert isinstance(trace, SideBySide)
    assert isinstance(trace.traces[0], StreamTrace)
    assert len(trace.traces[0].heard) == 3


def test_a_layer_that_runs_twice_is_not_heard():
    encoder = token_encoder("timm vit", "class")
    block = encoder.network.blocks[1]
    block.mlp.fc1.register_forward_hook(lambda layer, given, output: layer.forward(given[0]))
    plain = block.forward
    block.forward = lambda tokens: plain(tokens) + 0 * block.norm2(tokens)
    trace = encoder(token_images(2)).trace
    assert trace.heard[1].after is None
    torch.testing.assert_close(
        trace.along(drawn(trace, 2)).cells, trace_of("timm vit", "class").along(drawn(trace, 2)).cells
    )
