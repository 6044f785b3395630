import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import v2

from episodes import center_crop, direct_resize, training_transform
from fsl_explain.config.training import AugmentationConfig
from fsl_explain.training.augmentation import augmentation_of

SIZE, MEAN, STD = 24, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
AS_IT_IS = direct_resize(SIZE, (0.0,) * 3, (1.0,) * 3)
MOCO_V2 = AugmentationConfig(
    crop="resized", jitter=(0.4, 0.4, 0.4, 0.1), jitter_probability=0.8, grayscale=0.2, blur=0.5
)


def photograph(height=30, width=40):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def plain(red, green, blue):
    return PIL.Image.new("RGB", (30, 30), (red, green, blue))


def drawn(transform, image, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transform(image).as_subclass(torch.Tensor)


@pytest.mark.parametrize("bgr", [False, True], ids=["RGB", "BGR"])
@pytest.mark.parametrize("erasing", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("flip", [0.0, 0.5, 1.0])
def test_a_padded_crop_draws_the_pixels_of_the_few_shot_transform(bgr, erasing, flip):
    config = AugmentationConfig(flip=flip, erasing=erasing)
    augmentation = augmentation_of(config, SIZE, direct_resize(SIZE, MEAN, STD, bgr=bgr))
    expected = training_transform(SIZE, MEAN, STD, flip=flip, erasing=erasing, bgr=bgr)
    for seed in range(4):
        assert torch.equal(drawn(augmentation, photograph(), seed), drawn(expected, photograph(), seed))


def test_a_resized_crop_is_that_of_moco_v2_in_its_order():
    augmentation = augmentation_of(MOCO_V2, SIZE, direct_resize(SIZE, MEAN, STD))
    expected = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(SIZE, scale=(0.2, 1.0)),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    for seed in range(8):
        found = drawn(augmentation, photograph(), seed)
        assert found.shape == (3, SIZE, SIZE)
        assert torch.equal(found, drawn(expected, photograph(), seed))


def test_the_scale_bounds_the_part_that_is_kept():
    """Enlarged noise keeps its contrast, and noise made smaller loses it."""
    image = photograph(64, 64)
    everything = augmentation_of(AugmentationConfig(crop="resized", scale=(1.0, 1.0)), SIZE, AS_IT_IS)
    part = augmentation_of(AugmentationConfig(crop="resized", scale=(0.04, 0.04)), SIZE, AS_IT_IS)
    assert drawn(part, image, 0).std() > 1.3 * drawn(everything, image, 0).std()


def test_the_central_crop_of_metric_learning_is_replaced_and_its_colors_stay():
    transform = center_crop(28, SIZE, MEAN, STD, bgr=True)
    config = AugmentationConfig(crop="resized", scale=(1.0, 1.0))
    found = drawn(augmentation_of(config, SIZE, transform), plain(0, 51, 255), 0)
    expected = (torch.tensor([1.0, 0.2, 0.0]) - torch.tensor(MEAN)) / torch.tensor(STD)
    assert found.shape == (3, SIZE, SIZE)
    torch.testing.assert_close(found, expected[:, None, None].expand_as(found))


def whole(**changes):
    return augmentation_of(AugmentationConfig(crop="resized", scale=(1.0, 1.0), **changes), SIZE, AS_IT_IS)


@pytest.mark.parametrize("seed", range(5))
def test_probability_0_changes_nothing_and_1_always_does(seed):
    red = plain(200, 40, 40)
    as_it_is = torch.tensor([200, 40, 40])[:, None, None].expand(3, SIZE, SIZE) / 255
    strong = {"jitter": (0.0, 1.0, 0.9, 0.4)}
    for never in ({**strong, "jitter_probability": 0.0}, {"grayscale": 0.0}, {"blur": 0.0}, {"erasing": 0.0}):
        torch.testing.assert_close(drawn(whole(flip=0.0, **never), red, seed), as_it_is)
    assert not torch.allclose(drawn(whole(**strong), red, seed), as_it_is, atol=0.02)
    gray = drawn(whole(grayscale=1.0), red, seed)
    assert torch.equal(gray[0], gray[1])
    assert torch.equal(gray[0], gray[2])
    erased = drawn(whole(erasing=1.0), red, seed)
    assert 0.01 < float((erased == 0).all(dim=0).float().mean()) < 0.42


def erased_sides(transform, white, seeds):
    """Return the height and the width of every erased rectangle; the pixels are 1 elsewhere."""
    for seed in seeds:
        erased = (drawn(transform, white, seed) == 0).all(dim=0)
        yield int(erased.any(dim=1).sum()), int(erased.any(dim=0).sum())


def test_erased_rectangles_have_the_areas_and_aspects_of_cross_attention_network():
    size = 96
    exact = direct_resize(size, (0.0,) * 3, (1.0,) * 3)
    whole_image = AugmentationConfig(crop="resized", scale=(1.0, 1.0), flip=0.0, erasing=1.0)
    white = PIL.Image.new("RGB", (size, size), (255, 255, 255))
    sides = np.array(list(erased_sides(augmentation_of(whole_image, size, exact), white, range(300))), dtype=float)
    areas, aspects = sides.prod(axis=1) / size**2, sides[:, 0] / sides[:, 1]
    assert areas.min() == pytest.approx(0.02, abs=0.01)
    assert areas.max() == pytest.approx(0.4, abs=0.03)
    assert np.mean(areas > 0.34) > 0.08
    assert aspects.min() == pytest.approx(0.3, abs=0.05)
    assert aspects.max() == pytest.approx(1 / 0.3, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_flip_and_blur(seed):
    brighter_to_the_right = PIL.Image.fromarray(
        np.tile(np.arange(0, 240, 8, dtype=np.uint8)[None, :, None], (30, 1, 3))
    )
    for flip, sign in ((0.0, 1), (1.0, -1)):
        assert sign * float(drawn(whole(flip=flip), brighter_to_the_right, seed).diff(dim=-1).mean()) > 0
    sharp, blurred = (drawn(whole(flip=0.0, blur=blur), photograph(), seed) for blur in (0.0, 1.0))
    assert blurred.diff(dim=-1).abs().mean() < 0.99 * sharp.diff(dim=-1).abs().mean()


def test_what_depends_on_the_image_alone_is_settled():
    padded = augmentation_of(AugmentationConfig(flip=1.0), SIZE, AS_IT_IS)
    assert padded.settled(photograph()).shape == (3, SIZE, SIZE)
    assert torch.equal(drawn(padded.settled, photograph(), 0), drawn(padded.settled, photograph(), 1))
    assert whole().settled(photograph()).shape == (3, 30, 40)
