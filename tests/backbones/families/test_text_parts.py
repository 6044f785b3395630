"""Text towers by name: the weights of the same file, the model's own logits, and nothing where a file has none."""

import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import MEAN, STD, own_cosines, tiny_open_clip, tiny_transformers, tokenizer_of_words

from fsl_explain import Encoder, Mistake, explain

open_clip = pytest.importorskip("open_clip", reason="the extra 'open-clip' is not installed")

NAME = "small-ViT-with-text"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
PROMPTS = ["a red bird", "a dog"]
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def small_model(monkeypatch):
    known = {NAME: {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT}}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS, **known})


def assert_logits_of(model, kind, encoder):
    theirs = own_cosines(kind, model, encoder.text, IMAGES, PROMPTS)
    found = explain(encoder, IMAGES, text=PROMPTS)
    torch.testing.assert_close(found.decision.scores, theirs, atol=1e-6, rtol=0)
    assert bool((found.residual <= 1e-5 * found.absolute_sum).all())


@pytest.mark.parametrize("wrapped", [False, True])
def test_open_clip_has_the_text_tower_of_the_file(tmp_path, wrapped):
    model, path = tiny_open_clip(), tmp_path / "weights.pt"
    state = model.state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}} if wrapped else state, path)
    encoder = Encoder.named(f"open_clip:{NAME}", checkpoint=path, mean=list(MEAN), std=list(STD))
    assert_logits_of(model, "open_clip", encoder)


def test_a_file_of_the_image_tower_alone_has_no_text(tmp_path):
    path = tmp_path / "visual.safetensors"
    save_file({name: value.contiguous() for name, value in tiny_open_clip().visual.state_dict().items()}, path)
    encoder = Encoder.named(f"open_clip:{NAME}", checkpoint=path)
    assert encoder.text is None


def test_a_file_with_a_part_of_the_text_tower_is_refused(tmp_path):
    state, path = tiny_open_clip().state_dict(), tmp_path / "part.pt"
    del state["ln_final.weight"]
    torch.save(state, path)
    with pytest.raises(
        Mistake, match=r"to hold the text tower beside the image tower, but it misses .* 1 of its tensors .ln_final"
    ):
        Encoder.named(f"open_clip:{NAME}", checkpoint=path)


def test_random_towers_depend_on_the_seed_alone():
    first, again, other = (Encoder.named(f"open_clip:{NAME}", seed=seed) for seed in (1, 1, 2))
    assert first.random == ("network",)
    assert torch.equal(first.embed_text(PROMPTS), again.embed_text(PROMPTS))
    assert not torch.equal(first.embed_text(PROMPTS), other.embed_text(PROMPTS))
    assert not any("visual" in name for name in first.text.network.state_dict())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ImportError("No module named 'transformers'"), r"is not installed \(.*\); pip install fsl-explain\[transform"),
        (
            OSError("no file\nand more"),
            r"has no text tower: its tokenizer .* is not at hand \(no file\); fetch it once",
        ),
    ],
    ids=["package", "file"],
)
def test_a_tokenizer_that_is_not_at_hand_is_one_sentence(monkeypatch, error, sentence):
    def fail(*_args, **_more):
        raise error

    monkeypatch.setattr(open_clip, "get_tokenizer", fail)
    with pytest.raises(Mistake, match=sentence) as told:
        Encoder.named(f"open_clip:{NAME}").embed_text(PROMPTS)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_of_transformers_has_the_text_tower_of_its_file(tmp_path, kind):
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    model = tiny_transformers(kind)
    model.save_pretrained(tmp_path)
    without = Encoder.named(f"transformers:{tmp_path}")
    assert without.text is None
    with pytest.raises(Mistake, match=r"has no text tower: .* holds no tokenizer, as tokenizer.json, .* put its files"):
        without.embed_text(PROMPTS)
    tokenizer_of_words(**({"model_input_names": ["input_ids"]} if kind == "siglip" else {})).save_pretrained(tmp_path)
    assert_logits_of(model, kind, Encoder.named(f"transformers:{tmp_path}"))
