import struct
import threading
import zlib
from io import BytesIO

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

from episodes.decoding import check_header
from episodes.labeled_image import PIXEL_LIMIT, find_images, read_image

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def png(width, height, bit_depth, color_type, rows, extra=b""):
    """Write a PNG by hand, for the kinds that Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def transparent_gray(level):
    content = struct.pack(">H", level)
    return struct.pack(">I", 2) + b"tRNS" + content + struct.pack(">I", zlib.crc32(b"tRNS" + content))


@pytest.fixture
def photograph():
    """A left half in red and a right half in green, on 16 x 8 pixels."""
    image = PIL.Image.new("RGB", (16, 8), RED)
    image.paste(GREEN, (8, 0, 16, 8))
    return image


def stored_mode(path):
    with PIL.Image.open(path) as image:
        return image.mode


def assert_near(pixel, expected, tolerance=3):
    assert np.abs(np.array(pixel, int) - expected).max() <= tolerance, pixel


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.jpg", {"quality": 95}), ("a.webp", {"quality": 95})])
def test_the_usual_formats(tmp_path, photograph, name, options):
    photograph.save(tmp_path / name, **options)
    image = read_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert_near(image.getpixel((3, 3)), RED, 8)
    assert_near(image.getpixel((12, 3)), GREEN, 8)


def test_cmyk_jpeg(tmp_path, photograph):
    photograph.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert stored_mode(tmp_path / "a.jpg") == "CMYK"
    assert_near(read_image(tmp_path / "a.jpg").getpixel((3, 3)), RED, 8)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    levels = [0, 255, 256, 32768, 65407, 65535]
    (tmp_path / "a.png").write_bytes(png(6, 1, 16, 0, [struct.pack(">6H", *levels)]))
    assert [red for red, _, _ in np.asarray(read_image(tmp_path / "a.png"))[0]] == [0, 1, 1, 128, 255, 255]
    assert [round(level / 257) for level in levels] == [0, 1, 1, 128, 255, 255]


def test_sixteen_bits_with_a_transparent_gray(tmp_path):
    row = struct.pack(">2H", 512, 513)
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, 0, [row], extra=transparent_gray(512)))
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [[255, 255, 255], [2, 2, 2]]


def test_eight_bits_with_a_transparent_gray(tmp_path):
    (tmp_path / "a.png").write_bytes(png(2, 1, 8, 0, [b"\x07\x08"], extra=transparent_gray(7)))
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [[255, 255, 255], [8, 8, 8]]


def test_sixteen_bit_color(tmp_path):
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, 2, [struct.pack(">3H", 65535, 32768, 0)]))
    assert_near(read_image(tmp_path / "a.png").getpixel((0, 0)), (255, 128, 0), 1)


def test_gray_and_black_and_white(tmp_path):
    PIL.Image.new("L", (4, 4), 90).save(tmp_path / "gray.png")
    PIL.Image.new("1", (4, 4), 1).save(tmp_path / "bits.png")
    assert read_image(tmp_path / "gray.png").getpixel((0, 0)) == (90, 90, 90)
    assert read_image(tmp_path / "bits.png").getpixel((0, 0)) == WHITE


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
    ],
)
def test_transparency_is_laid_on_white(tmp_path, mode, color, seen):
    PIL.Image.new(mode, (4, 4), color).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").getpixel((1, 1)) == seen


@pytest.mark.parametrize(("transparency", "left"), [(None, RED), (0, WHITE), (b"\x00\xff", WHITE)])
def test_palette(tmp_path, transparency, left):
    image = PIL.Image.new("P", (2, 1), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    assert stored_mode(tmp_path / "a.png") == "P"
    assert np.asarray(read_image(tmp_path / "a.png"))[0].tolist() == [list(left), list(GREEN)]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, name, orientation):
    corners = PIL.Image.new("L", (32, 16), 0)
    corners.paste(250, (0, 0, 16, 8))
    corners.paste(120, (16, 0, 32, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition by which a camera stores an upright image
    stored = corners if orientation == 1 else corners.transpose(PIL.Image.Transpose(undo[orientation]))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored.convert("RGB").save(tmp_path / name, exif=exif, **({} if name == "a.png" else {"quality": 95}))
    image = read_image(tmp_path / name)
    assert image.size == (32, 16)
    assert_near(image.getpixel((7, 3)), (250,) * 3, 12)
    assert_near(image.getpixel((24, 3)), (120,) * 3, 12)
    assert_near(image.getpixel((7, 12)), (0,) * 3, 12)


def broken(path, content):
    path.write_bytes(content)
    return path


def encoded(image_format, **options):
    stream = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(stream, image_format, **options)
    return stream.getvalue()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")


def test_a_folder_is_not_an_image(tmp_path):
    with pytest.raises(ValueError, match=r"expected an image, but .* is a folder"):
        read_image(tmp_path)


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.jpg is empty \(0 bytes\)"):
        read_image(broken(tmp_path / "a.jpg", b""))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_truncated_file_is_refused_whatever_pillow_is_told(tmp_path, monkeypatch, image_format, share, lenient):
    monkeypatch.setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    content = encoded(image_format)
    path = broken(tmp_path / "a.bin", content[: int(len(content) * share)])
    with pytest.raises(
        ValueError, match=r"a\.bin (ends before its picture does|is damaged|is not a PNG, JPEG or WebP)"
    ):
        read_image(path)
    assert PIL.ImageFile.LOAD_TRUNCATED_IMAGES is lenient


def test_a_truncated_jpeg_is_called_truncated(tmp_path):
    with pytest.raises(ValueError, match=r"the image .*a\.jpg ends before its picture does; copy or download it again"):
        read_image(broken(tmp_path / "a.jpg", encoded("JPEG")[:1500]))


def test_a_damaged_png_is_called_damaged(tmp_path):
    content = bytearray(encoded("PNG"))
    content[200:400] = bytes(200)
    with pytest.raises(ValueError, match=r"a\.png is damaged"):
        read_image(broken(tmp_path / "a.png", bytes(content)))


@pytest.mark.parametrize("content", [b"hello, I am a letter\n" * 9, encoded("ICO"), encoded("TGA"), encoded("PDF")])
def test_other_formats_are_refused_whatever_they_are_called(tmp_path, content):
    with pytest.raises(ValueError, match=r"a\.jpg is not a PNG, JPEG or WebP image; convert it"):
        read_image(broken(tmp_path / "a.jpg", content))


@pytest.mark.parametrize("sides", [(60_000, 60_000), (11_000, 9_000), (9_001, 9_000)])
@pytest.mark.parametrize("lenient", [False, True])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch, sides, lenient):
    if lenient:
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    before = PIL.Image.MAX_IMAGE_PIXELS
    assert sides[0] * sides[1] > PIXEL_LIMIT
    path = broken(tmp_path / "a.png", png(*sides, 8, 0, [b"\0"]))
    with pytest.raises(
        ValueError, match=r"a\.png (is refused as a decompression bomb|has \d+x\d+ pixels).*make it smaller"
    ):
        read_image(path)
    assert before == PIL.Image.MAX_IMAGE_PIXELS


def test_many_threads_read_alike(tmp_path, photograph):
    photograph.save(tmp_path / "a.png")
    read = []
    threads = [threading.Thread(target=lambda: read.append(read_image(tmp_path / "a.png"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [image.tobytes() for image in read] == [photograph.tobytes()] * 8


def test_images_are_found_sorted_and_hidden_files_are_not(tmp_path, photograph):
    for name in ("b.PNG", "a.jpeg", "c.webp", ".hidden.png"):
        photograph.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "b.PNG")
    assert [path.name for path in find_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.webp", "link.png"]


def test_no_folder_of_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        find_images(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"expected a folder of images, but .*a\.png is a file"):
        find_images(broken(tmp_path / "a.png", b"x"))


def test_annotations_in_stored_pixels_want_the_stored_picture(tmp_path):
    path, exif = tmp_path / "a.jpg", PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (12, 10)).save(path, exif=exif)
    assert read_image(path).size == (10, 12)
    assert read_image(path, upright=False).size == (12, 10)


def test_a_side_is_bounded_however_narrow_the_image_is(tmp_path):
    PIL.Image.new("L", (1, 65_535)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").size == (1, 65_535)
    PIL.Image.new("L", (1, 65_536)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has 1x65536 pixels, and a side is longer than the limit of 65,535"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tif", "a.ppm", "a.avif", "a.jp2"])
def test_a_header_is_read_without_the_picture(tmp_path, photograph, monkeypatch, name):
    photograph.save(tmp_path / name)
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda _: pytest.fail("the picture was decoded"))
    check_header(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_a_file_without_the_header_of_an_image_is_refused(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg"):
        check_header(tmp_path / "a.jpg")
    with pytest.raises(FileNotFoundError):
        check_header(tmp_path / "b.jpg")
