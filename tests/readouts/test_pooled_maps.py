"""Attention over the maps of CLIP's ResNets: what each cell wrote, written again cell by cell and head by head."""

import pytest
import torch
from token_networks import module
from torch import nn

from fsl_explain import Encoder, explain
from fsl_explain.backbones.tokens.pooled_maps import addends_of

CHANNELS, HEADS, OUT, SIDE = 8, 2, 5, 3


def clips_pool():
    return module("open_clip.modified_resnet").AttentionPool2d(SIDE, CHANNELS, HEADS, OUT)


def timms_pool():
    kind = module("timm.layers").AttentionPool2d
    return kind(CHANNELS, feat_size=SIDE, out_features=OUT, num_heads=HEADS, qkv_bias=True)


def drawn(pool):
    generator = torch.Generator().manual_seed(0)
    for parameter in pool.parameters():
        parameter.data.normal_(generator=generator)
    return pool.double().eval()


def layers(pool):
    """The weights and biases of query, key, value and way out, whatever they are called."""
    if hasattr(pool, "q_proj"):
        parts = [pool.q_proj, pool.k_proj, pool.v_proj]
        return [(part.weight, part.bias) for part in parts], (pool.c_proj.weight, pool.c_proj.bias)
    return list(zip(pool.qkv.weight.chunk(3), pool.qkv.bias.chunk(3), strict=True)), (pool.proj.weight, pool.proj.bias)


def by_hand(pool, maps):
    """What each cell writes, with loops: its own token's value, and its part of the mean's."""
    (query, key, value), (out, _) = layers(pool)
    positions = pool.positional_embedding if hasattr(pool, "positional_embedding") else pool.pos_embed
    cells = maps.flatten(1).T
    tokens = torch.cat([cells.mean(dim=0, keepdim=True), cells]) + positions
    written = torch.zeros(OUT, len(cells), dtype=maps.dtype)
    width = CHANNELS // HEADS
    for head in range(HEADS):
        rows = slice(head * width, (head + 1) * width)
        asked = query[0][rows] @ tokens[0] + query[1][rows]
        products = torch.stack([asked @ (key[0][rows] @ token + key[1][rows]) for token in tokens])
        attention = (products / width**0.5).softmax(dim=0)
        for number, cell in enumerate(cells):
            share = attention[1 + number] + attention[0] / len(cells)
            written[:, number] += out[:, rows] @ (share * (value[0][rows] @ cell))
    return written.reshape(OUT, SIDE, SIDE)


@pytest.mark.parametrize("build", [clips_pool, timms_pool])
@torch.no_grad()
def test_cells_write_what_loops_say_and_all_parts_are_the_pools_output(build):
    pool = drawn(build())
    maps = torch.randn(2, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = addends_of(pool, maps)
    for one, written in zip(maps, found.maps, strict=True):
        torch.testing.assert_close(written, by_hand(pool, one))
    torch.testing.assert_close(sum(found.named.values(), found.held), pool(maps))


class Small(nn.Module):
    """A convolution, and attention that pools its maps."""

    def __init__(self):
        super().__init__()
        self.conv, self.attnpool = nn.Conv2d(3, CHANNELS, 4, 4).double(), drawn(clips_pool())

    def forward(self, images):
        return self.attnpool(self.conv(images))


def test_a_contrast_adds_up_with_positions_and_biases_named():
    images = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = explain(Encoder.wrap(Small()), images[0], images[1:].unflatten(0, (2, 2)), method="contrast")
    assert found.cells.shape == (SIDE, SIDE)
    assert {*found.named} == {"positions", "biases"}
    assert abs(float(found.cells.sum() + found.bias - found.score)) <= 1e-10 * float(found.absolute_sum)
