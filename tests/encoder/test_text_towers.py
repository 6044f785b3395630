"""Text towers: prompts as the models themselves embed them, and the models untouched."""

import copy
import pickle

import numpy as np
import open_clip
import pytest
import torch
from forced_threads import Gate, met
from tiny_clip import MODELS, SIDE, WIDTH, own_cosines, tiny_clip, tiny_open_clip, tiny_transformers, tokenizer_of_words
from tiny_encoder import tiny_encoder
from torch import nn

from fsl_explain import Mistake
from fsl_explain.backbones import text as text_towers
from fsl_explain.backbones.text import TextTower
from fsl_explain.centering import centered

PROMPTS = ["a red bird", "a photo of the green cat on grass", "dog"]
IMAGES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def cosines(first, second):
    """In plain Python."""
    first, second = first.double().tolist(), second.double().tolist()
    return torch.tensor(
        [
            [sum(a * b for a, b in zip(x, y, strict=True)) / (np.linalg.norm(x) * np.linalg.norm(y)) for y in second]
            for x in first
        ]
    )


@pytest.mark.parametrize("kind", MODELS)
def test_cosines_are_the_logits_of_the_model_itself(kind):
    model, encoder = tiny_clip(kind)
    found = cosines(encoder(IMAGES).embedding, encoder.embed_text(PROMPTS))
    theirs = own_cosines(kind, model, encoder.text, IMAGES, PROMPTS)
    torch.testing.assert_close(found.float(), theirs, atol=1e-6, rtol=0)
    assert found.std() > 0.02  # the models tell images and prompts apart


@pytest.mark.parametrize("kind", MODELS)
def test_a_prompt_is_embedded_alike_alone_and_among_others(kind, monkeypatch):
    _, encoder = tiny_clip(kind)
    together = encoder.embed_text(PROMPTS)
    torch.testing.assert_close(torch.cat([encoder.embed_text([one]) for one in PROMPTS]), together)
    monkeypatch.setattr(text_towers, "PROMPTS_TOGETHER", 2)
    torch.testing.assert_close(encoder.embed_text(PROMPTS), together)


@pytest.mark.parametrize("kind", MODELS)
def test_the_model_stays_as_it_was(kind):
    model, encoder = tiny_clip(kind)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = encoder.embed_text(PROMPTS)
    assert not found.requires_grad
    assert found.shape == (3, encoder(IMAGES).embedding.shape[-1])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_two_threads_embed_one_after_the_other():
    model, encoder = tiny_clip("open_clip")
    gate = Gate()
    model.ln_final = nn.Sequential(gate, model.ln_final)
    model.train()
    expected = [encoder.embed_text([prompt]) for prompt in PROMPTS[:2]]
    found = met(gate, *(lambda prompt=prompt: encoder.embed_text([prompt]) for prompt in PROMPTS[:2]))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert all(module.training for module in model.modules())


def test_a_failing_tokenizer_leaves_the_model_in_its_mode():
    model = tiny_open_clip().train()
    tower = TextTower.of_open_clip(model, lambda prompts: prompts[5])
    with pytest.raises(IndexError):
        tower.embed(PROMPTS)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("kind", MODELS)
def test_an_encoder_with_texts_is_copied_and_moved(kind):
    _, encoder = tiny_clip(kind)
    before = encoder.embed_text(PROMPTS)
    other = copy.deepcopy(encoder)
    assert torch.equal(other.embed_text(PROMPTS), before)
    assert other.text.network is not encoder.text.network
    assert torch.equal(pickle.loads(pickle.dumps(encoder.text)).embed(PROMPTS), before)
    moved = encoder.to("meta")
    assert all(value.device.type == "meta" for value in moved.text.network.parameters())


@pytest.mark.parametrize("kind", ["open_clip", "clip"])
def test_the_scale_is_that_of_the_model(kind):
    model, encoder = tiny_clip(kind)
    assert encoder.text.scale == pytest.approx(float(model.logit_scale.detach().exp()))
    model.logit_scale.data.fill_(1.5)
    assert encoder.text.scale == pytest.approx(np.exp(1.5))  # as it is now


def test_half_precision_is_embedded_in_float32():
    _, encoder = tiny_clip("clip")
    exact = encoder.embed_text(PROMPTS)
    encoder.text.network.bfloat16()
    found = encoder.embed_text(PROMPTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0.2, rtol=0.1)


def test_prompts_of_siglip_are_padded_to_the_trained_length():
    _, siglip = tiny_clip("siglip")
    _, clip = tiny_clip("clip")
    assert siglip.text.tokenize(["dog"])["input_ids"].shape == (1, 16)
    assert clip.text.tokenize(["dog"])["input_ids"].shape == (1, 3)


@pytest.mark.parametrize(
    ("prompts", "error", "sentence"),
    [
        ("a cat", TypeError, "expected a list of prompts, but got str"),
        ([], ValueError, "expected at least one prompt, but got none"),
        (["a cat", " "], ValueError, "expected prompts that say something, but one is empty"),
        ([7], TypeError, "expected prompts as texts, but got int"),
    ],
)
def test_what_is_no_prompt_is_refused(prompts, error, sentence):
    with pytest.raises(error, match=sentence):
        text_towers.checked_prompts(prompts)


def test_an_encoder_checks_its_prompts():
    _, encoder = tiny_clip("clip")
    for prompts in ("a cat", [], [" "]):
        with pytest.raises(Mistake, match="prompt"):
            encoder.embed_text(prompts)


@pytest.mark.parametrize(("kind", "limit", "words"), [("open_clip", 77, 75), ("clip", 16, 14), ("siglip", 16, 14)])
def test_a_prompt_whose_end_would_not_be_read_is_refused(kind, limit, words):
    _, encoder = tiny_clip(kind)
    encoder.embed_text(["bird " * words])
    with pytest.raises(Mistake, match=rf"at most {limit} tokens, .* 'bird bird .* has {limit + 1}; shorten it"):
        encoder.embed_text(["dog", "bird " * (words + 1)])


def test_a_tokenizer_that_is_a_function_is_taken():
    model, encoder = tiny_clip("open_clip")
    tower = TextTower.of_open_clip(model, open_clip.tokenize)
    assert torch.equal(tower.embed(PROMPTS), encoder.embed_text(PROMPTS))


def test_an_encoder_without_a_text_tower_says_so():
    with pytest.raises(Mistake, match=r"expected an encoder of images and texts, but .* has no text tower; wrap"):
        tiny_encoder().embed_text(["a cat"])


def test_centered_images_are_not_compared_with_texts():
    _, encoder = tiny_clip("clip")
    with pytest.raises(Mistake, match="they are centered on the mean of the given embeddings; use the encoder as it"):
        centered(encoder, encoder(IMAGES).embedding).embed_text(["a cat"])


def test_a_tower_alone_is_no_model_of_images_and_texts():
    with pytest.raises(TypeError, match="expected a model of open_clip with encode_text, but got VisionTransformer"):
        TextTower.of_open_clip(tiny_open_clip().visual, open_clip.tokenize)
    with pytest.raises(TypeError, match="expected a model of transformers with get_text_features, but got CLIP"):
        TextTower.of_transformers(tiny_open_clip(), tokenizer_of_words())
    assert TextTower.of_transformers(tiny_transformers("clip"), tokenizer_of_words()).embed(["dog"]).shape == (1, WIDTH)
