"""Vision models of transformers at another image size than that of their configuration."""

import pytest
import torch
from token_networks import of_transformers, shaken

from fsl_explain import Encoder, explain

MODELS = {
    "ViT": lambda: of_transformers("ViT"),
    "DeiT": lambda: of_transformers("DeiT"),
    "Dinov2": lambda: of_transformers("Dinov2"),
    "CLIP": lambda: of_transformers("CLIPVision", "ModelWithProjection", projection_dim=16),
    "SigLIP": lambda: of_transformers("SiglipVision"),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(32, 32), (48, 48), (32, 56)])
def test_positions_are_interpolated_where_they_have_to_be(name, size):
    network = shaken(MODELS[name]())
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    more = {"interpolate_pos_encoding": True} if name != "Dinov2" and size != (32, 32) else {}
    with torch.no_grad():
        output = network(images, **more)
    own = output.image_embeds if name == "CLIP" else output.pooler_output
    encoder = Encoder.wrap(network)
    torch.testing.assert_close(encoder(images).embedding, own, rtol=1e-9, atol=1e-11)
    found = explain(encoder, images[0], {"a": images[1:2], "b": images[2:]})
    assert found.cells.shape == (size[0] // 8, size[1] // 8)
    assert found.residual <= 1e-12
