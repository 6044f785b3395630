"""Which block and head read each patch: their sum is the map, and a head that writes nothing holds nothing."""

import pickle

import pytest
import torch
from token_networks import token_encoder, token_images

from fsl_explain import Mistake, explain, heads_and_blocks


def asked(encoder, method="contrast"):
    return explain(encoder, token_images(1)[0], token_images(2, 2, seed=1), method=method)


@pytest.mark.parametrize("readout", ["class", "class-direct", "class-last"])
def test_blocks_and_heads_sum_to_the_cells(readout):
    explanation = asked(token_encoder("timm registers", readout))
    found = heads_and_blocks(explanation)
    assert found.shape[0] == (1 if readout == "class-last" else len(token_encoder("timm registers").network.blocks))
    torch.testing.assert_close(found.sum(dim=(0, 1)), explanation.cells)


def test_a_head_that_writes_nothing_holds_nothing():
    encoder = token_encoder("timm vit", "class")
    attention = encoder.network.blocks[1].attn
    with torch.no_grad():
        attention.proj.weight[:, : attention.head_dim] = 0
    found = heads_and_blocks(asked(encoder))
    assert float(found[1, 0].abs().max()) == 0
    assert float(found[1, 1].abs().max()) > 0


def test_what_has_no_heads_is_one_sentence():
    with pytest.raises(Mistake, match="expected exact or contrast of an embedding that a class token"):
        heads_and_blocks(asked(token_encoder("timm vit", "mean")))
    with pytest.raises(Mistake, match="but got lafam of another"):
        heads_and_blocks(asked(token_encoder("timm vit", "class"), "lafam"))
    with pytest.raises(Mistake, match="this one was saved or sent"):
        heads_and_blocks(pickle.loads(pickle.dumps(asked(token_encoder("timm vit", "class")))))
