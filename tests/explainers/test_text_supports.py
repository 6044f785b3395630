"""Prompts as supports: the decision is the model's own, and its explanation adds up."""

import open_clip
import pytest
import torch
from tiny_clip import MODELS, SIDE, own_cosines, tiny_clip
from tiny_encoder import tiny_encoder

from fsl_explain import METHODS, Explanation, Mistake, explain, support_audit
from fsl_explain.explainers.prompts import text_supports

TEXT = {
    "cat": ["a photo of the cat", "green cat on grass"],
    "dog": "a dog",
    "bird": ["a red bird", "blue bird", "bird"],
}
PROMPTS = ["a photo of the cat", "a dog", "a red bird"]
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
SPLIT = ("exact", "contrast", "log-probability", "verification")


def asked(method):
    return {"threshold": 0.2} if method == "verification" else {}


@pytest.mark.parametrize("method", SPLIT)
@pytest.mark.parametrize("kind", MODELS)
def test_explanations_of_prompts_add_up(kind, method):
    _, encoder = tiny_clip(kind)
    for rule in ("mean-similarity", "prototype", "nearest-neighbor"):
        found = explain(encoder, IMAGES, text=TEXT, method=method, rule=rule, **asked(method))
        assert bool((found.residual <= 1e-5 * found.absolute_sum).all())
        torch.testing.assert_close(found.cells.flatten(1).sum(dim=1) + found.bias, found.score, atol=1e-5, rtol=1e-5)
        assert bool(found.support_cells.isnan().all())  # a text has no regions
        receipt = found[0].receipt()
        assert receipt.residual <= 1e-10 * receipt.absolute_sum


@pytest.mark.parametrize("kind", MODELS)
def test_scores_are_the_logits_of_the_model_itself(kind):
    model, encoder = tiny_clip(kind)
    found = explain(encoder, IMAGES, text=PROMPTS)
    theirs = own_cosines(kind, model, encoder.text, IMAGES, PROMPTS)
    torch.testing.assert_close(found.decision.scores, theirs, atol=1e-6, rtol=0)
    assert found.decision.classes == tuple(PROMPTS)
    assert found.decision.label.tolist() == theirs.argmax(dim=1).tolist()


@pytest.mark.parametrize("kind", ["open_clip", "clip"])
def test_log_probability_is_that_of_the_model_itself(kind):
    model, encoder = tiny_clip(kind)
    found = explain(encoder, IMAGES, text=PROMPTS, method="log-probability", target=1)
    tokens = encoder.text.tokenize(PROMPTS)
    with torch.no_grad():
        if kind == "open_clip":
            image, text, scale = model(IMAGES, tokens["text"])[:3]
            logits = scale * image @ text.T
        else:
            logits = model(pixel_values=IMAGES, **tokens).logits_per_image
    torch.testing.assert_close(found.score, logits.log_softmax(dim=-1)[:, 1], atol=1e-5, rtol=0)
    other = explain(encoder, IMAGES, text=PROMPTS, method="log-probability", target=1, scale=1.0)
    assert not torch.allclose(other.score, found.score, atol=1e-2)  # a scale that is given is taken


def test_prototypes_of_prompts_are_the_classifier_of_open_clip():
    model, encoder = tiny_clip("open_clip")
    found = explain(encoder, IMAGES, text=TEXT, rule="prototype")
    with torch.no_grad():
        weights = open_clip.build_zero_shot_classifier(
            model,
            tokenizer=open_clip.get_tokenizer("ViT-B-32"),
            classnames=["cat"],
            templates=[lambda name: f"a photo of the {name}", lambda name: f"green {name} on grass"],
        )
        theirs = model.encode_image(IMAGES, normalize=True) @ weights
    torch.testing.assert_close(found.decision.scores[:, :1], theirs, atol=1e-6, rtol=0)


def is_of_pooled_maps(method):
    known = METHODS[method]
    return known.differentiates or method in ("fam", "ablation-cam", "hirescam", "layercam") or "grad-cam" in method


@pytest.mark.parametrize("method", [name for name in METHODS if name != "verification" and not is_of_pooled_maps(name)])
def test_every_method_of_tokens_takes_prompts(method):
    _, encoder = tiny_clip("open_clip")
    found = explain(encoder, IMAGES[0], text=PROMPTS, method=method)
    assert found.saliency.shape == (SIDE, SIDE)
    assert bool(found.saliency.isfinite().all())


def test_prompts_and_their_embeddings_are_alike():
    _, encoder = tiny_clip("clip")
    given = {name: encoder.embed_text([group] if isinstance(group, str) else group) for name, group in TEXT.items()}
    for text in (given, {name: value.numpy() for name, value in given.items()}, {**given, "dog": "a dog"}):
        found = explain(encoder, IMAGES[0], text=text)
        expected = explain(encoder, IMAGES[0], text=TEXT)
        torch.testing.assert_close(found.cells, expected.cells)
        torch.testing.assert_close(found.similarities, expected.similarities, equal_nan=True)


def test_one_prompt_is_a_class_of_its_own():
    _, encoder = tiny_clip("clip")
    one, listed = (explain(encoder, IMAGES[0], text=text) for text in ("a dog", ["a dog"]))
    assert one.decision.classes == ("a dog",)
    assert torch.equal(one.cells, listed.cells)


def test_explanations_of_prompts_are_audited_saved_and_drawn(tmp_path):
    _, encoder = tiny_clip("clip")
    found = explain(encoder, IMAGES[0], text=TEXT, method="contrast", target="bird", against="cat")
    audit = support_audit(found)
    found.save(tmp_path / "text.safetensors")
    read = Explanation.load(tmp_path / "text.safetensors")
    assert str(support_audit(read)) == str(audit)
    assert str(read.receipt()) == str(found.receipt())
    assert found.plot().axes


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({}, Mistake, "expected supports or text to compare with, but got none of them; give one of the two"),
        ({"text": TEXT, "supports": IMAGES[None]}, Mistake, "but got both; give one of the two"),
        ({"text": ["cat", "dog", "cat"]}, Mistake, "expected prompts that differ, but 'cat' comes more than once"),
        ({"text": {"cat": []}}, TypeError, "as the text of cat, but got none; give at least one"),
        ({"text": {"cat": ""}}, Mistake, "expected prompts that say something, but one is empty"),
        ({"text": []}, Mistake, "expected supports of at least one class, but got none"),
        ({"text": {"cat": torch.zeros(2, 5)}}, Mistake, r"expected embeddings \(shot, 24\) .* for cat"),
        ({"text": PROMPTS, "target": "cow"}, LookupError, "cow"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(options, error, sentence):
    _, encoder = tiny_clip("clip")
    with pytest.raises(error, match=sentence):
        explain(encoder, IMAGES[0], **options)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (3, "expected text as a list of prompts, or a mapping .* but got int"),
        (["cat", 3], "expected text as a list of prompts, or a mapping .* but got list"),
        ({"cat": 3}, "as the text of cat, but got int; give at least one"),
    ],
    ids=str,
)
def test_what_is_no_text_is_refused(text, sentence):
    with pytest.raises(TypeError, match=sentence):
        text_supports(tiny_clip("clip")[1], text)


def test_an_encoder_without_a_text_tower_says_so():
    with pytest.raises(Mistake, match="has no text tower"):
        explain(tiny_encoder(), torch.rand(3, 24, 32), text=["a cat"])


def test_an_image_tower_without_its_projection_is_told_apart():
    model, encoder = tiny_clip("clip")
    alone = type(encoder).wrap(model.vision_model, text=encoder.text)
    with pytest.raises(Mistake, match=r"expected embeddings \(shot, 32\) .* got shape \(1, 24\); give .* as its head="):
        explain(alone, IMAGES[0], text=["a cat"])
