"""A file, its PIL image, a torchvision data set, a bank and a picture below a map all have the same pixels."""

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from episodes import CsvBoxes, TorchvisionImages, as_rgb, prepare, read_image
from episodes.errors import Mistake, TooLarge, WrongType
from episodes.transforms import center_crop
from fsl_explain import Encoder, explain
from fsl_explain.explainers.compared import compare
from fsl_explain.pictures.photograph import draw

NOISE = np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8)
DEEP = np.linspace(0, 65535, 54).reshape(6, 9)


def turned(image):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return image, {"exif": exif}


def palette():
    image = PIL.Image.fromarray(NOISE[..., :3]).quantize(7)
    image.info["transparency"] = bytes([0, 128, 255, 255, 255, 255, 255])
    return image, {}


RGB = PIL.Image.fromarray(NOISE[..., :3])
PICTURES = {
    "16 bits.png": lambda: (PIL.Image.fromarray(DEEP.astype(np.uint16)), {}),
    "big endian.tif": lambda: (PIL.Image.fromarray(DEEP.astype(">u2")), {}),
    "integers.tif": lambda: (PIL.Image.fromarray(DEEP.astype(np.int32)), {}),
    "shares.tif": lambda: (PIL.Image.fromarray((DEEP / 65535).astype(np.float32)), {}),
    "floats.tif": lambda: (PIL.Image.fromarray(DEEP.astype(np.float32)), {}),
    "turned.png": lambda: turned(RGB),
    "turned.tif": lambda: turned(RGB),
    "turned gray.png": lambda: turned(PIL.Image.fromarray(DEEP.astype(np.uint16))),
    "turned and clear.png": lambda: turned(PIL.Image.fromarray(NOISE)),
    "clear.png": lambda: (PIL.Image.fromarray(NOISE), {}),
    "clear gray.png": lambda: (PIL.Image.fromarray(NOISE).convert("LA"), {}),
    "palette.png": palette,
    "cmyk.tif": lambda: (RGB.convert("CMYK"), {}),
    "ycbcr.tif": lambda: (RGB.convert("YCbCr"), {}),
    "lab.tif": lambda: (PIL.Image.fromarray(NOISE[..., :3], mode="LAB"), {}),
    "bits.png": lambda: (RGB.convert("1"), {}),
}


@pytest.fixture
def encoder():
    network = nn.Conv2d(3, 4, 3)
    return Encoder.wrap(network, network, preprocess=v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32)]))


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("name", PICTURES)
def test_every_road_has_the_pixels_of_the_file(tmp_path, encoder, name):
    image, options = PICTURES[name]()
    image.save(tmp_path / name, **options)
    expected = torch.from_numpy(np.array(read_image(tmp_path / name))).movedim(-1, 0)[None].float()

    class Pairs(list):
        targets = (0,)

    opened = PIL.Image.open(tmp_path / name)
    torchvision = TorchvisionImages(Pairs([(opened.copy() if opened.format != "TIFF" else opened, 0)]), "pairs")
    below = draw(torch.zeros(expected.shape[-2:]), PIL.Image.open(tmp_path / name), True, 1.0)
    assert below.size == (expected.shape[-1], expected.shape[-2])
    for given in (tmp_path / name, str(tmp_path / name), PIL.Image.open(tmp_path / name), torchvision[0].image):
        torch.testing.assert_close(encoder.preprocess([given]), expected)


def test_deep_gray_is_scaled_and_not_clipped():
    for image in (DEEP.astype(np.uint16), DEEP.astype(np.int32), (DEEP / 65535).astype(np.float32)):
        assert abs(np.asarray(as_rgb(PIL.Image.fromarray(image)))[..., 0] - DEEP / 257).max() <= 1


@pytest.mark.parametrize("level", [-1.0, 70000.0, np.nan, np.inf])
def test_gray_without_a_known_scale_is_refused(level):
    with pytest.raises(Mistake, match="expected gray levels from 0 to 65535, but got"):
        as_rgb(PIL.Image.fromarray(np.full((2, 2), level, np.float32)))


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_what_was_not_turned_for_its_boxes_is_not_turned_later(tmp_path, encoder, name):
    image, options = turned(RGB)
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images" / name, **options)
    (tmp_path / "annotations.csv").write_text(f"file,class,xmin,ymin,xmax,ymax\n{name},bird,1,1,7,4\n")
    labeled = CsvBoxes(tmp_path)[0]
    assert labeled.image.size == RGB.size
    assert encoder.preprocess([labeled.image]).shape[-2:] == (6, 9)


def test_damaged_exif_leaves_the_picture_as_it_is():
    image = RGB.copy()
    image.info["exif"] = b"Exif\0\0MM\0*" + b"\xff" * 9
    assert as_rgb(image).tobytes() == RGB.tobytes()


def test_arrays_and_integer_tensors_are_taken(encoder):
    expected = encoder.preprocess([RGB])
    values = NOISE[..., :3]
    for given in (values, values / 255, values.astype(int), torch.from_numpy(values).movedim(-1, 0)):
        torch.testing.assert_close(encoder.preprocess([given]), expected)
    torch.testing.assert_close(encoder.preprocess(values[None]), expected)
    torch.testing.assert_close(encoder.preprocess(iter([RGB])), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (RGB, "expected a list of PIL images, but got a single one"),
        ("a.jpg", "expected a list of images, but got the single 'a.jpg'"),
        (NOISE[..., :3], r"expected a list of images, but got one of shape \(6, 9, 3\)"),
        ([], "expected at least one image, but got none"),
        (None, "expected a list of images, but got a NoneType"),
        ([None], "image 0 is a NoneType; open it"),
        ([RGB, b"bytes"], "image 1 is a bytes"),
        ([torch.rand(3, 4, 4)], "image 0 is a tensor of torch.float32; if it is preprocessed already"),
        ([np.full((4, 4, 3), 200.0)], "floating-point ones from 0 to 1, but image 0 is of float64 from 200 to 200"),
        ([np.full((4, 4, 3), -1)], "image 0 is of int64 from -1 to -1"),
        ([np.zeros((3, 8, 8), np.uint8)], r"of shape \(height, width, 3\) .* image 0 is \(3, 8, 8\)"),
        ([np.zeros((0, 8, 3), np.uint8)], r"image 0 is \(0, 8, 3\)"),
        ([np.array(["a"])], r"image 0 is \(1,\)"),
        ([RGB, RGB.resize((4, 4))], "image 0 became 3×6×9 and image 1 3×4×4"),
    ],
)
def test_what_is_no_list_of_images_is_one_sentence(encoder, given, message):
    with pytest.raises(Mistake, match=message):
        encoder.preprocess(given)


def test_an_own_preprocessing_that_gives_no_image(encoder):
    encoder.transform = lambda image: v2.functional.pil_to_tensor(image)[None]
    with pytest.raises(Mistake, match=r"gave a tensor of shape \(1, 3, 6, 9\) for image 0"):
        encoder.preprocess([RGB])
    encoder.transform = lambda image: image
    with pytest.raises(Mistake, match="gave a Image for image 0"):
        encoder.preprocess([RGB])


def test_a_strip_does_not_become_a_giant():
    network = nn.Conv2d(3, 4, 3)
    transform = center_crop(256, 224, [0.5] * 3, [0.5] * 3)
    strip = PIL.Image.new("RGB", (1, 30_000))
    with pytest.raises(TooLarge, match="an image of 1x30000 pixels would become 256x7680000"):
        Encoder.wrap(network, network, preprocess=transform).preprocess([strip])
    from episodes import LabeledImage

    with pytest.raises(TooLarge, match="would become 256x7680000"):
        prepare(LabeledImage(strip, 0, "a"), transform)
    assert Encoder.wrap(network, network).preprocess([strip]).shape == (1, 3, 224, 224)


def test_only_pil_images_are_turned():
    with pytest.raises((WrongType, TypeError)):
        as_rgb(NOISE)


@pytest.mark.parametrize("of_query", [True, False])
def test_whole_numbers_are_no_preprocessed_pixels(of_query):
    network = nn.Conv2d(3, 4, 3)
    pixels, whole = torch.rand(3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)
    supports = {"bird": pixels[None], "tern": (pixels if of_query else whole)[None]}
    with pytest.raises(WrongType, match=r"preprocessed images for .*, but got whole numbers \(torch\.uint8\); use enc"):
        compare(Encoder.wrap(network, network), whole if of_query else pixels, supports)


def test_a_map_is_drawn_on_a_file_and_not_on_a_tensor(tmp_path):
    network = nn.Conv2d(3, 4, 3)
    encoder = Encoder.wrap(network, network)
    RGB.save(tmp_path / "a.png")
    pixels = encoder.preprocess([RGB])
    found = explain(encoder, pixels[0], {"bird": pixels, "tern": pixels.flip(-1)})
    assert found.on_photograph(tmp_path / "a.png").tobytes() == found.on_photograph(RGB).tobytes()
    with pytest.raises(WrongType, match=r"the photograph is a tensor of torch\.float32"):
        found.on_photograph(torch.rand(3, 6, 9))
