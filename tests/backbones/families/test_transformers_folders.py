"""Folders of transformers: the model's own embedding, its weights as data, its images as its processor makes them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fsl_explain import Encoder
from fsl_explain.backbones.families.image_processors import preprocessing_of

transformers = pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "embedding_size": 8}
BLOCKS = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
TOKENS = {**BLOCKS, "image_size": 32, "patch_size": 8}
TEXTS = {**BLOCKS, "vocab_size": 50, "max_position_embeddings": 8, "bos_token_id": 0, "eos_token_id": 1}
CONVOLUTIONAL = {
    "convnext": ("ConvNextModel", STAGES),
    "convnextv2": ("ConvNextV2Model", STAGES),
    "resnet": ("ResNetModel", STAGES),
    "swin": ("SwinModel", {"embed_dim": 24, "depths": [1, 1], "num_heads": [1, 2], "image_size": 32, "window_size": 4}),
}
OF_TOKENS = {
    "vit": ("ViTForImageClassification", TOKENS),
    "dinov2": ("Dinov2Model", {**TOKENS, "mlp_ratio": 2}),
    "siglip_vision_model": ("SiglipVisionModel", TOKENS),
    "clip": ("CLIPModel", {"vision_config": TOKENS, "text_config": TEXTS, "projection_dim": 16}),
}


def saved(folder, kind, weights=True):
    """Write a folder with a model of random weights, or its configuration alone, and return the model."""
    architecture, sizes = (CONVOLUTIONAL | OF_TOKENS)[kind]
    torch.manual_seed(0)
    model = getattr(transformers, architecture)(transformers.AutoConfig.for_model(kind, **sizes)).eval()
    (model if weights else model.config).save_pretrained(folder)
    return model


def own_embedding(model, kind, images):
    """Return the embedding as the model's documentation takes it."""
    with torch.no_grad():
        if kind == "clip":
            vision = model.vision_model(pixel_values=images)
            return model.visual_projection(vision.pooler_output)
        if kind == "vit":
            return model.vit(images).last_hidden_state[:, 0]
        return model(images).pooler_output.flatten(1)


@pytest.mark.parametrize("kind", [*CONVOLUTIONAL, *OF_TOKENS])
def test_the_embedding_is_the_models_own_with_the_weights_of_the_folder(tmp_path, kind):
    model = saved(tmp_path, kind)
    encoder = Encoder.named(f"transformers:{tmp_path}")
    assert "model.safetensors" in encoder.description
    assert encoder.random == ()
    side = encoder.image_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(images).embedding, own_embedding(model, kind, images), rtol=1e-4, atol=1e-5)
    assert (encoder.tokens is not None) == (kind in OF_TOKENS)


def test_a_folder_without_weights_has_random_ones_and_says_so(tmp_path):
    saved(tmp_path, "convnext", weights=False)
    encoder = Encoder.named(f"transformers:{tmp_path}", seed=3)
    assert encoder.description.endswith("(random weights, seed 3)")
    assert encoder.random == ("network",)


PROCESSORS = {
    "CLIPImageProcessor": {"size": {"shortest_edge": 24}, "crop_size": {"height": 20, "width": 20}},
    "BitImageProcessor": {"size": {"shortest_edge": 26}, "crop_size": {"height": 20, "width": 20}},
    "ViTImageProcessor": {"size": {"height": 24, "width": 24}},
    "SiglipImageProcessor": {"size": {"height": 24, "width": 24}},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 28}},
    "ConvNextImageProcessor squeezed": {"size": {"shortest_edge": 384}},
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_images_are_prepared_as_the_processor_prepares_them(kind):
    name = kind.split()[0]
    processor = getattr(transformers, name)(**PROCESSORS[kind])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels).resize((64, 48), Image.Resampling.BICUBIC)
    theirs = torch.as_tensor(np.asarray(processor(photograph)["pixel_values"][0]))
    ours = preprocessing_of({**processor.to_dict(), "image_processor_type": name}, "it").transform(photograph)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 3 / 255 / 0.25
    assert (ours - theirs).abs().mean() < 0.5 / 255 / 0.25


def test_the_folders_processor_is_the_encoders(tmp_path):
    saved(tmp_path, "convnext", weights=False)
    transformers.CLIPImageProcessor(**PROCESSORS["CLIPImageProcessor"]).save_pretrained(tmp_path)
    encoder = Encoder.named(f"transformers:{tmp_path}", tail="ignore")
    assert (encoder.image_size, encoder.geometry.resize) == (20, (24,))
    assert Encoder.named(f"transformers:{tmp_path}", size=40, tail="ignore").geometry.resize == (48,)


MISTAKES = {
    "no such folder": ({}, r"expected a folder with config.json as transformers:.*give a folder, or download=true"),
    "no configuration": ({"config.json": None}, r"expected a vision model of transformers in .*check the folder"),
    "a model of texts": ({"config.json": {"model_type": "bert", **BLOCKS}}, r"BertModel reads input_ids; choose"),
    "a strange processor": (
        {"preprocessor_config.json": {"image_processor_type": "LevitImageProcessor"}},
        r"by a processor among Bit, CLIP, .* says Levit",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_sentence(tmp_path, what):
    files, sentence = MISTAKES[what]
    folder = tmp_path / "model"
    if files:
        folder.mkdir()
        saved(folder, "convnext", weights=False)
    for file, content in files.items():
        (folder / file).unlink(missing_ok=True)
        if content is not None:
            (folder / file).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        Encoder.named(f"transformers:{folder}")
