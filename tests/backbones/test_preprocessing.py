"""How images reach a named network: resized or cut, in its order of channels, boxes and masks with them."""

import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from episodes import BlueGreenRed, LabeledImage, box_mask, center_crop, direct_resize, prepare, training_transform
from fsl_explain import Encoder
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.evaluation.mosaics.mosaic_store import mosaic_pixels
from fsl_explain.explainers.compared import visible
from fsl_explain.metrics.masking import removed_pixels

IDENTITY = ((0.0,) * 3, (1.0,) * 3)
RED, BLACK = Image.new("RGB", (300, 200), (255, 0, 0)), Image.new("RGB", (300, 200))
CAFFE_MEAN = torch.tensor([104, 117, 128])[:, None, None]


@pytest.fixture(scope="module")
def inception():
    return Encoder.named("bn-inception")


@pytest.mark.parametrize(
    ("name", "side"), [("conv64f", 84), ("resnet18", 84), ("npid-resnet18", 224), ("torchvision:resnet18", 224)]
)
def test_most_networks_see_the_whole_image_normalized_as_imagenet(name, side):
    encoder = Encoder.named(name)
    assert encoder.normalization == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert not encoder.bgr
    wide = Image.new("RGB", (300, 100))
    wide.paste((255, 255, 255), (0, 0, 75, 100))
    pixels = visible(encoder, encoder.preprocess([wide]))
    assert pixels.shape == (1, 3, side, side)
    torch.testing.assert_close(pixels.mean(), torch.tensor(0.25), rtol=0, atol=0.01)


def test_bn_inception_sees_the_middle_in_the_order_blue_green_red(inception):
    assert inception.bgr
    assert inception.carries_boxes
    assert inception.image_size == 227
    mean, std = inception.normalization
    assert mean == pytest.approx([104 / 255, 117 / 255, 128 / 255])
    assert std == pytest.approx([1 / 255] * 3)
    pixels = inception.preprocess([RED])[0]
    expected = torch.tensor([0, 0, 255])[:, None, None] - CAFFE_MEAN
    torch.testing.assert_close(pixels, expected.expand(3, 227, 227).float(), rtol=0, atol=1e-3)


def test_black_and_pictures_follow_the_order_of_channels(inception):
    black = inception.preprocess([BLACK])
    torch.testing.assert_close(inception.black.expand_as(black[0]), black[0])
    removed = removed_pixels(inception.preprocess([RED]), "black", black=inception.black)
    torch.testing.assert_close(removed.expand_as(black), black)
    shown = visible(inception, inception.preprocess([RED]))
    torch.testing.assert_close(shown[0, :, 100, 100], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-5)


def test_mosaics_of_another_side_keep_the_order_of_channels(inception):
    expected = inception.preprocess([RED])[0, :, 0, 0]
    assert mosaic_pixels(inception, [RED], 64).shape == (1, 3, 64, 64)
    torch.testing.assert_close(mosaic_pixels(inception, [RED], 64)[0, :, 0, 0], expected)


def scene(height, width, box):
    """A white object on black whose box, mask and pixels say the same."""
    corners = torch.tensor([box], dtype=torch.float32)
    mask = box_mask(corners, height, width).any(dim=0)
    image = Image.fromarray((mask[..., None].expand(-1, -1, 3) * 255).to(torch.uint8).numpy())
    boxes = tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(height, width))
    return LabeledImage(image, 0, "square", boxes=boxes, mask=tv_tensors.Mask(mask))


@pytest.mark.parametrize(
    ("height", "width", "box", "seen_box"),
    [
        (512, 768, [300, 100, 420, 240], [72, 36, 132, 106]),
        (768, 512, [100, 300, 240, 420], [36, 72, 106, 132]),
        (512, 768, [0, 100, 200, 240], [0, 36, 22, 106]),
    ],
    ids=["wide", "tall", "cut by the crop"],
)
def test_boxes_and_masks_follow_the_crop(height, width, box, seen_box):
    """The shorter side becomes 256; of the longer, 384, the crop leaves out 78 on the left, and 14 of the shorter."""
    transform = center_crop(256, 228, *IDENTITY, bgr=True)
    prepared = prepare(scene(height, width, box), transform)
    assert prepared.pixels.shape == (3, 228, 228)
    assert prepared.target_box.tolist() == pytest.approx(seen_box)
    seen = prepared.pixels.mean(dim=0) > 0.5
    assert torch.equal(prepared.target_mask, seen)
    assert torch.equal(box_mask(prepared.target_box[None], 228, 228)[0], seen)


def test_an_object_beside_the_crop_has_neither_box_nor_mask(inception):
    prepared = prepare(scene(512, 768, [0, 0, 100, 400]), inception.transform)
    assert prepared.target_box is None
    assert prepared.target_mask is None


def test_the_channels_are_reversed_and_nothing_else():
    pixels = torch.rand(3, 40, 40)
    image = LabeledImage(Image.fromarray((pixels * 255).byte().permute(1, 2, 0).numpy()), 0, "noise")
    for make in (direct_resize, lambda *rest, bgr=False: center_crop(48, 40, *rest[1:], bgr=bgr)):
        plain, reversed_ = (prepare(image, make(40, *IDENTITY, bgr=bgr)).pixels for bgr in (False, True))
        assert torch.equal(reversed_, plain.flip(0))
    for bgr in (False, True):
        torch.manual_seed(0)
        drawn = prepare(image, training_transform(40, (0.1, 0.2, 0.3), (1.0,) * 3, flip=0.0, bgr=bgr)).pixels
        torch.manual_seed(0)
        zero = prepare(image, training_transform(40, *IDENTITY, flip=0.0)).pixels
        expected = (zero.flip(0) if bgr else zero) - torch.tensor([0.1, 0.2, 0.3])[:, None, None]
        torch.testing.assert_close(drawn, expected)
    assert torch.equal(BlueGreenRed()(tv_tensors.Mask(pixels > 0.5)), pixels > 0.5)
    assert isinstance(BlueGreenRed()(tv_tensors.Image(pixels)), tv_tensors.Image)


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match=r"a crop of at most 200 pixels, the shorter side, but got 227; resize to"):
        center_crop(200, 227, *IDENTITY)


def test_another_size_keeps_the_share_that_is_cut_out():
    inception = Encoder.named("bn-inception", size=128)
    assert inception.image_size == 128
    assert inception.preprocess([RED]).shape == (1, 3, 128, 128)
    assert Preprocessing(227, resize=256).changed(size=454).resize == 512
    framed = Image.new("RGB", (512, 512))
    framed.paste((255, 255, 255), (29, 29, 483, 483))
    for preprocessing in (Preprocessing(227, *IDENTITY, resize=256), Preprocessing(128, *IDENTITY, resize=144)):
        pixels = preprocessing.transform(framed)
        assert pixels[:, 1:-1, 1:-1].min() > 0.99
        assert 0.3 < pixels[:, 0, 5].mean() < 1.01


def test_mean_and_deviation_may_be_those_of_a_checkpoint():
    encoder = Encoder.named("conv64f", mean=[0.92206] * 3, std=[0.08426] * 3)
    assert encoder.normalization == ([0.92206] * 3, [0.08426] * 3)
    assert Preprocessing(84).changed(mean=[0.5] * 3) == Preprocessing(84, mean=(0.5,) * 3)
    assert Preprocessing(84).changed() == Preprocessing(84)


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([v2.Resize(30)], None),
        ([v2.Resize((30, 20))], None),
        ([v2.Resize(30), v2.CenterCrop(20)], 20),
        ([v2.Resize((9, 9))], 9),
    ],
)
def test_a_preprocessing_that_does_not_make_squares_shows_no_size(steps, size):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))
    assert Encoder.wrap(network, "0", preprocess=v2.Compose([v2.ToImage(), *steps])).image_size == size
