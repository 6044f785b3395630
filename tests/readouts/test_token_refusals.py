"""Networks that compute otherwise than their parts say, readouts that are not there, and mutants that are noticed."""

import jaxtyping
import pytest
import torch
from token_networks import module, of_timm, of_transformers, shaken, timm_eva, timm_vit, token_encoder, token_images
from torch import nn

from episodes.errors import Mistake
from fsl_explain import Encoder, explain
from fsl_explain.backbones.tokens import blocks
from fsl_explain.heads import alike, block_layers
from fsl_explain.heads.stages import Diagonal
from fsl_explain.readouts import block as frozen_block


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def of_blocks(kind):
    return lambda: timm_vit(block_fn=getattr(module("timm.models.vision_transformer"), kind), init_values=0.1)


def scaled_mlp():
    class Twice(module("timm.layers").Mlp):
        def forward(self, values):
            return 2 * super().forward(values)

    return timm_vit(mlp_layer=Twice)


def gated_attention():
    class Gated(module("timm.layers").Attention):
        def forward(self, tokens, **more):
            return super().forward(tokens, **more) * tokens.sigmoid()

    return timm_vit(attn_layer=Gated)


def norm_behind():
    class Behind(module("timm.models.vision_transformer").Block):
        def forward(self, tokens, **_):
            tokens = self.norm1(tokens + self.attn(tokens))
            return self.norm2(tokens + self.mlp(tokens))

    return timm_vit(block_fn=Behind)


MUTANTS = {
    **{kind: of_blocks(kind) for kind in ("ParallelScalingBlock", "ParallelThingsBlock", "ResPostBlock")},
    "EvaBlockPostNorm": lambda: timm_eva(use_post_norm=True, global_pool="token"),
    "relative positions": lambda: of_timm("beit", "Beit", use_rel_pos_bias=True, global_pool="token"),
    "shared relative positions": lambda: of_timm("beit", "Beit", use_shared_rel_pos_bias=True, global_pool="token"),
    "keys of several heads": lambda: timm_eva(num_kv_heads=1, qkv_fused=False, attn_type="rope", global_pool="token"),
    "an MLP times 2": scaled_mlp,
    "gated attention": gated_attention,
    "norms behind": norm_behind,
}


@pytest.mark.parametrize("readout", ["class", "class-direct", "class-last", "class+mean"])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_network_that_computes_otherwise_is_refused(mutant, readout):
    encoder = Encoder.wrap(shaken(MUTANTS[mutant]()), readout=readout)
    with pytest.raises(Mistake, match=r"expected .*pre-norm transformer blocks.*; use readout='mean'") as refused:
        explain(encoder, token_images(), token_images(2, 1, seed=1))
    assert str(refused.value).count(". ") == 0


@pytest.mark.parametrize("mutant", MUTANTS)
def test_its_mean_is_explained(mutant):
    encoder = Encoder.wrap(shaken(MUTANTS[mutant]()), readout="mean")
    found = explain(encoder, token_images(), token_images(2, 1, seed=1))
    assert found.residual <= 1e-12


def test_a_readout_has_a_name():
    with pytest.raises(LookupError, match=r"'clas'.*class"):
        token_encoder("timm vit", "clas")


def test_a_readout_beside_a_layer():
    with pytest.raises(Mistake, match="for readout='class', but of VisionTransformer a layer or a layout was named"):
        Encoder.wrap(timm_vit(), "blocks", readout="class")
    with pytest.raises(Mistake, match="a layer or a layout was named"):
        Encoder.wrap(timm_vit(), layout="tokens", readout="class")


def test_a_readout_of_what_has_no_tokens():
    with pytest.raises(Mistake, match="for readout='mean', but of Sequential its parts are not known"):
        Encoder.wrap(nn.Sequential(nn.Conv2d(3, 4, 2)), readout="mean")


@pytest.mark.parametrize("readout", ["class", "class-direct", "class-last", "class+mean"])
def test_a_network_without_a_class_token(readout):
    with pytest.raises(Mistake, match=r"expected a network with a class token .* use readout='(mean|attention-pool)'"):
        token_encoder("timm siglip", readout)


def test_attention_that_does_not_pool():
    with pytest.raises(Mistake, match="expected attention pooling that is known for readout='attention-pool'"):
        token_encoder("timm vit", "attention-pool")


@pytest.mark.parametrize("name", ["timm distilled", "timm cait"])
def test_several_class_tokens_have_no_mean_beside_them(name):
    with pytest.raises(Mistake, match=r"expected one class token for readout='class\+mean'"):
        token_encoder(name, "class+mean")


def test_a_network_whose_own_embedding_is_another_is_refused():
    """The classifier here reads twice the normalized token."""

    class Twice(module("timm.models.vision_transformer").VisionTransformer):
        def pool(self, tokens, **_):
            return 2 * tokens[:, 0]

    network = shaken(Twice(embed_dim=24, depth=2, num_heads=3, img_size=32, patch_size=8, num_classes=4))
    with pytest.raises(Mistake, match=r"to output what its readout 'class' makes, of shape .* 50.0% apart"):
        Encoder.wrap(network)(token_images(1))


def relu_gains(_layer, values):
    return Diagonal((values > 0).to(values))


def norm_bias_kept(norm, tokens):
    return norm(tokens), norm.bias


BROKEN = {
    "ReLU's gains": ((block_layers, alike), "secant_gains", relu_gains),
    "no layer scales": ((blocks,), "_scale", lambda *_: []),
    "the norm's bias in the cells": ((frozen_block,), "_without_bias", norm_bias_kept),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("readout", ["class", "class-direct", "class-last"])
def test_a_wrong_formula_is_noticed(broken, readout, monkeypatch):
    where, name, wrong = BROKEN[broken]
    for part in where:
        monkeypatch.setattr(part, name, wrong)
    encoder = token_encoder("timm registers", readout)
    with pytest.raises(Mistake, match=r"a Block computes otherwise than its parts say, .*% apart"):
        encoder(token_images(1))
    encoder.tokens._unchecked = False
    found = explain(encoder, token_images(), token_images(2, 2, seed=1))
    assert found.residual > 1e-4 * found.absolute_sum


def test_every_image_has_its_receipt_and_the_first_its_check():
    """A network that is changed after its first image is told by the residual."""
    encoder = token_encoder("timm registers", "class")
    encoder(token_images(1))
    encoder.network.blocks[1].mlp.register_forward_hook(lambda *of: 1.1 * of[-1])
    found = explain(encoder, token_images(), token_images(2, 2, seed=1))
    assert found.residual > 1e-4 * found.absolute_sum


def test_a_network_of_one_library_may_run_in_any_attention():
    encoder = Encoder.wrap(shaken(eager()), readout="class")
    found = explain(encoder, token_images(), token_images(2, 1, seed=1))
    assert found.residual <= 1e-12


def eager():
    network = of_transformers("Dinov2")
    network.set_attn_implementation("eager")
    return network


def test_a_layer_of_its_own_is_still_a_map():
    """A network of tokens is wrapped by a layer as any other."""
    encoder = Encoder.wrap(timm_vit().double(), "patch_embed.proj", tail="ignore")
    assert encoder(token_images(2)).maps.shape == (2, 24, 4, 4)
    assert encoder.tokens is None
    assert torch.isfinite(encoder(token_images(2)).embedding).all()
