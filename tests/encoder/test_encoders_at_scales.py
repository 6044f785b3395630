"""Encoders at several scales: what they see, what they refuse, and that the encoder they come from stays as it is."""

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_encoder import images, random_head, tiny_encoder
from tiny_training import OBJECTIVES, NoiseImages, settings
from torch import nn
from torchvision.transforms import v2
from unchecked import loaded_without_shape_checks

from episodes import center_crop, direct_resize
from fsl_explain import Encoder, centered, explain, saliency
from fsl_explain.config import EncoderConfig
from fsl_explain.scales import at_side, prepared_at
from fsl_explain.training.training import objective_of
from retrieval_explain.store.encoder_fingerprint import fingerprint, preprocessing_text

SCALES = (6, 10)
MEAN = STD = (0.5, 0.5, 0.5)


def test_pooled_values_and_embeddings_of_all_scales_stand_behind_each_other():
    encoder = tiny_encoder(random_head("mlp"))
    found, batch = encoder.at_scales(SCALES)(images(2)), images(2)
    larger = F.interpolate(batch, size=(10, 13), mode="bilinear", antialias=True, align_corners=False)
    parts = [encoder(batch), encoder(larger)]
    for name in ("pooled", "embedding"):
        torch.testing.assert_close(getattr(found, name), torch.cat([getattr(one, name) for one in parts], dim=-1))
    assert found.maps.shape == (2, 8, 5, 6)
    torch.testing.assert_close(found.maps.mean(dim=(-2, -1)), found.pooled)


@pytest.mark.parametrize(
    ("size", "side", "expected"), [((6, 8), 12, (12, 16)), ((9, 9), 4, (4, 4)), ((8, 6), 6, (8, 6))]
)
def test_the_shorter_side_is_resized_and_the_aspect_ratio_kept(size, side, expected):
    batch = torch.rand(1, 3, *size)
    found = at_side(batch, side)
    assert found.shape[-2:] == expected
    assert (found is batch) == (size == expected)
    torch.testing.assert_close(found, v2.functional.resize(batch, list(expected), antialias=True))


@pytest.mark.parametrize(
    ("usual", "larger"),
    [
        (direct_resize(8, MEAN, STD), direct_resize(16, MEAN, STD)),
        (center_crop(10, 8, MEAN, STD), center_crop(20, 16, MEAN, STD)),
        (center_crop((10, 12), 8, MEAN, STD), center_crop((20, 24), 16, MEAN, STD)),
    ],
)
def test_photographs_are_prepared_at_the_largest_scale(usual, larger):
    photograph = Image.effect_noise((40, 30), 80).convert("RGB")
    encoder = tiny_encoder(preprocess=usual).at_scales((4, 16))
    assert encoder.image_size == 16
    torch.testing.assert_close(encoder.preprocess([photograph])[0], larger(photograph))
    assert encoder.geometry is not None


def test_a_preprocessing_that_hides_its_steps_stays_as_it_is():
    def own(image):
        return v2.functional.to_dtype(v2.functional.to_image(image.resize((8, 6))), torch.float32, scale=True)

    assert prepared_at(own, 16) is own
    assert tiny_encoder(preprocess=own).at_scales(SCALES).preprocess([Image.new("RGB", (9, 9))]).shape == (1, 3, 6, 8)


def test_the_encoder_itself_stays_and_scales_replace_scales():
    encoder, batch = tiny_encoder(random_head("linear")), images(2)
    before = encoder(batch)
    scaled = encoder.at_scales(SCALES)
    again = scaled.at_scales((7,))
    assert torch.equal(encoder(batch).embedding, before.embedding)
    assert encoder.scales is None
    assert (again.scales.sides, again.scales.weights) == ((7,), (1.0,))
    assert again(batch).embedding.shape == before.embedding.shape
    assert "at scales 6 and 10" in scaled.description
    assert "at scale 7" in again.description
    assert "6 (weight 0.25)" in encoder.at_scales(SCALES, (1.0, 3.0)).description


def test_banks_tell_encoders_at_other_scales_apart():
    encoder = tiny_encoder()
    every = [encoder, encoder.at_scales((6,)), encoder.at_scales(SCALES), encoder.at_scales(SCALES, (1.0, 3.0))]
    assert len({fingerprint(one) for one in every}) == len(every)
    assert fingerprint(encoder.at_scales(SCALES)) == fingerprint(encoder.at_scales(list(SCALES)))
    assert preprocessing_text(every[0]) != preprocessing_text(every[2])


def test_centered_embeddings_are_those_of_all_scales():
    for head in (None, random_head("linear")):
        scaled, batch = tiny_encoder(head).at_scales(SCALES), images(4)
        usual = scaled(batch).embedding
        found = centered(scaled, usual)
        torch.testing.assert_close(found(batch).embedding, usual - usual.mean(dim=0))
        explanation = explain(found, batch, images(2, 2, seed=1), method="contrast")
        assert float(explanation.residual.max()) < 1e-12


def test_another_head_is_that_of_each_scale():
    head, scaled = nn.Linear(4, 2).double(), tiny_encoder().at_scales(SCALES)
    found = scaled.with_head(head)(images(2))
    torch.testing.assert_close(found.embedding, torch.cat([head(part) for part in found.pooled.chunk(2, -1)], dim=-1))


def test_a_configuration_may_name_scales():
    encoder = Encoder.from_config(EncoderConfig(name="conv4net", scales=(84, 100), scale_weights=(1.0, 1.0)))
    assert encoder.scales.sides == (84, 100)
    with pytest.raises(ValueError, match=r"expected a weight for each of 2 scales, but got 1; give as many"):
        EncoderConfig(name="conv4net", scales=(84, 100), scale_weights=(1.0,))
    with pytest.raises(ValueError, match=r"biases = 'apart' is of finer maps, but detail is 0"):
        EncoderConfig(name="conv4net", biases="apart")


def test_training_at_scales_is_refused():
    encoder = Encoder.from_config(EncoderConfig(name="conv4net", scales=(84, 100)))
    with pytest.raises(ValueError, match=r"training sees images of one size, but this encoder sees them at several"):
        objective_of(encoder, NoiseImages(), settings(OBJECTIVES["episodic"]))


@pytest.mark.parametrize(
    ("scales", "weights", "sentence"),
    [
        ((), None, "expected 1 to 8 different scales, such as .224, 448., but got"),
        ((6, 6), None, "expected 1 to 8 different scales"),
        ((6, 0), None, "expected scales of 1 to 8192 pixels"),
        ((6, 10), (1.0,), "expected a positive weight for each of the 2 scales, but got .1.0."),
        ((6, 10), (1.0, -1.0), "expected a positive weight for each of the 2 scales"),
    ],
)
def test_scales_that_do_not_fit_are_refused(scales, weights, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny_encoder().at_scales(scales, weights)


def test_scales_are_whole_numbers_of_any_kind():
    made = loaded_without_shape_checks("fsl_explain.scales").Scales.of
    for given in (np.array([6, 10]), (np.int32(6), 10), torch.tensor([6, 10]).tolist()):
        sides = made(given).sides
        assert sides == (6, 10)
        assert {type(side) for side in sides} == {int}
    assert made(np.int64(6)).sides == made(6).sides == (6,)
    for given in ((True, 6), "6", (6.0, 10), 6.5):
        with pytest.raises(TypeError, match=r"expected scales in whole pixels, such as \(224, 448\), but got \["):
            made(given)


def test_options_that_do_not_go_together_are_refused():
    query, supports = images(), images(2, 1, seed=1)
    with pytest.raises(ValueError, match=r"weights of scales together with the scales, but got the weights alone"):
        explain(tiny_encoder(), query, supports, scale_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"expected an encoder at scales 6 and 10, as the similarity is; use encoder"):
        explain(tiny_encoder(), query, supports, similarity="cosine@6,10")
    with pytest.raises(ValueError, match=r"expected a similarity at scales 6 and 10, as the encoder sees images, but"):
        explain(tiny_encoder(), query, supports, similarity="cosine@6,12", scales=SCALES)
    same = explain(tiny_encoder(), query, supports, similarity="cosine@6,10", scales=SCALES)
    assert torch.equal(same.score, explain(tiny_encoder(), query, supports, scales=SCALES).score)
    with pytest.raises(ValueError, match=r"a class logit is of one scale, but TinyNetwork, at scales 6 and 10 sees"):
        saliency(tiny_encoder().at_scales(SCALES), query, method="grad-cam")
    network = nn.Sequential(nn.Conv2d(3, 4, 2, stride=2), nn.Flatten(), nn.Linear(48, 2))
    whole = Encoder.wrap(network, "0", tail="network")
    with pytest.raises(ValueError, match=r"expected embeddings that are sums over cells, but those of Sequential are"):
        whole.at_scales(SCALES)


def test_a_network_of_one_size_is_refused_when_it_sees_another():
    encoder = Encoder.wrap(timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=0))
    batch = torch.rand(1, 3, 32, 32)
    assert encoder.at_scales((32,))(batch).maps.shape[-2:] == (2, 2)
    with pytest.raises(ValueError, match=r"any size, but this one does not take 48×48, the scale 48: Input height"):
        encoder.at_scales((32, 48))(batch)
    with pytest.raises(
        ValueError, match=r"many pooled values at every scale, but Flattening makes 48 and 120 at scales"
    ):
        tiny_encoder(pooling="flatten").at_scales(SCALES)(images(1))


@pytest.mark.parametrize("readout", ["class", "class-direct", "class+mean", "mean"])
def test_tokens_with_interpolated_positions_add_up(readout):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(
            "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_classes=0, dynamic_img_size=True
        )
    encoder = Encoder.wrap(network.double().eval(), readout=readout)
    generator = torch.Generator().manual_seed(0)
    query, supports = (torch.randn(*shape, 3, 32, 32, generator=generator).double() for shape in ((1,), (2, 2)))
    found = explain(encoder, query, supports, method="contrast", scales=(32, 48))[0]
    assert found.cells.shape == (3, 3)
    receipt = found.receipt()
    assert receipt.residual_of_scales < 1e-12
    total = float(found.cells.sum() + found.bias)
    assert total == pytest.approx(float(found.score), abs=1e-10 * float(found.absolute_sum) + 1e-12)
    assert ("class token" in found.named) == (readout != "mean")
