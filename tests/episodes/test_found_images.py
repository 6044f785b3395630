import os
import shutil
import warnings

import numpy as np
import PIL.Image
import pytest

from episodes import ImageFiles, ImageFolder, read_image, read_images, readable, several_classes
from episodes.decoding import FORMATS
from episodes.errors import Mistake
from episodes.found_images import SUFFIXES, find_images, images_below
from episodes.several_classes import SeveralClasses, in_several_classes

READ = {"PNG": "png", "JPEG": "jfif", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif", "PPM": "ppm"}


def saved(path, image_format="PNG", color=(9, 90, 200)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 8), color).save(path, format=image_format)
    return path


@pytest.mark.parametrize("image_format", READ)
def test_every_format_is_found_and_read_by_any_road(tmp_path, image_format):
    assert image_format in FORMATS
    path = saved(tmp_path / "bird" / f"a.{READ[image_format].upper()}", image_format)
    assert [ImageFolder(tmp_path).paths, ImageFiles(tmp_path).paths] == [(path,)] * 2
    assert read_image(path).size == ImageFolder(tmp_path)[0].image.size == (8, 8)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_the_content_decides_and_not_the_ending(tmp_path, suffix):
    assert find_images(saved(tmp_path / f"a{suffix}", "BMP").parent) == [tmp_path / f"a{suffix}"]
    assert read_image(tmp_path / f"a{suffix}").size == (8, 8)


def test_a_file_without_an_ending_is_known_by_its_beginning(tmp_path):
    saved(tmp_path / "picture")
    (tmp_path / "LICENSE").write_text("no image")
    assert images_below(tmp_path).images == [tmp_path / "picture"]
    assert images_below(tmp_path).left_out == [tmp_path / "LICENSE"]


def test_images_lie_as_deep_as_they_like_and_the_class_is_the_first_folder(tmp_path):
    paths = tuple(saved(tmp_path / "bird" / name) for name in ("2024/b.png", "2024/may/c.png", "a.png"))
    saved(tmp_path / "bird" / ".thumbs" / "d.png")
    found = ImageFolder(tmp_path)
    assert (found.paths, found.classes) == (paths, ("bird",))


def test_folders_one_level_too_high_are_said(tmp_path):
    saved(tmp_path / "train" / "bird" / "a.png")
    with pytest.warns(UserWarning, match=r"no image lies directly in .*train; the class is the first folder below"):
        ImageFolder(tmp_path)


def test_what_is_left_out_is_counted_and_named_once(tmp_path):
    saved(tmp_path / "bird" / "a.png")
    saved(tmp_path / "beside.png")
    (tmp_path / "bird" / "b.heic").write_bytes(b"heic")
    (tmp_path / "bird" / "notes.txt").write_text("a companion")
    os.mkfifo(tmp_path / "bird" / "pipe.png")
    (tmp_path / "bird" / "gone.png").symlink_to(tmp_path / "nothing")
    with pytest.warns(UserWarning, match=r"left out 4 files below .*beside\.png, bird/b\.heic") as said:
        assert len(ImageFolder(tmp_path)) == 1
    assert len(said) == 1
    with pytest.warns(UserWarning, match=r"left out 3 files below .*bird/gone\.png, bird/pipe\.png"):
        assert len(ImageFiles(tmp_path)) == 2


def test_many_left_out_files_are_counted(tmp_path):
    saved(tmp_path / "a.png")
    for number in range(8):
        (tmp_path / f"{number}.heic").touch()
    with pytest.warns(UserWarning, match=r"left out 8 files .*0\.heic, .*4\.heic and 3 more"):
        ImageFiles(tmp_path)


def linked(image, place):
    place.symlink_to(image)


@pytest.mark.parametrize("double", [linked, lambda image, place: place.hardlink_to(image), shutil.copy])
def test_one_file_in_two_classes_is_said_once(tmp_path, double):
    image = saved(tmp_path / "bird" / "a.png")
    for place in ("tern/b.png", "tern/d.png", "wren/c.png", "bird/e.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        double(image, tmp_path / place)
    saved(tmp_path / "wren" / "other.png", color="blue")
    sentence = r"3 images are of several classes, first tern/b\.png, which holds the same as bird/a\.png"
    with pytest.warns(SeveralClasses, match=sentence) as said:
        ImageFolder(tmp_path)
    assert len(said) == 1


def test_files_alike_in_size_and_end_alone_are_different(tmp_path):
    for name, start in (("bird", b"BMone"), ("tern", b"BMtwo")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.bmp").write_bytes(start + bytes(5000))
    assert in_several_classes({name: [tmp_path / name / "a.bmp"] for name in ("bird", "tern")}) == []


def test_pairs_are_those_of_comparing_every_two_files(tmp_path):
    """Against the definition: the first file of the same bytes, of another class."""
    rng, files = np.random.default_rng(0), {}
    for name in "abc":
        (tmp_path / name).mkdir()
        files[name] = [tmp_path / name / f"{number}.bmp" for number in range(6)]
        for path in files[name]:
            path.write_bytes(rng.integers(0, 4, 1, np.uint8).tobytes() * int(rng.integers(1, 3)))
    every = [(name, path) for name in files for path in files[name]]
    wanted = []
    for name, path in every:
        first = next((other, place) for other, place in every if place.read_bytes() == path.read_bytes())
        if first[0] != name:
            wanted.append((path, first[1]))
    assert wanted
    assert in_several_classes(files) == wanted


def test_of_too_many_files_the_bytes_are_not_read(tmp_path, monkeypatch):
    image = saved(tmp_path / "bird" / "a.png")
    (tmp_path / "tern").mkdir()
    shutil.copy(image, tmp_path / "tern" / "b.png")
    monkeypatch.setattr(several_classes, "MOST_COMPARED", 1)
    assert len(ImageFolder(tmp_path)) == 2


def test_several_frames_are_said_and_the_first_is_taken(tmp_path):
    frames = [PIL.Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for name in ("a.gif", "a.tif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.warns(UserWarning, match=rf"{name} has several frames; the first one is taken"):
            red, _, blue = read_image(tmp_path / name).getpixel((0, 0))
        assert red > 200 > 50 > blue


@pytest.fixture
def partly_broken(tmp_path):
    good = saved(tmp_path / "bird" / "good.png")
    for name in ("broken", "text"):
        (tmp_path / "bird" / f"{name}.png").write_bytes(good.read_bytes()[:40] if name == "broken" else b"text")
    shutil.copy(good, tmp_path / "bird" / "other.png")
    return tmp_path


def test_all_broken_files_are_named_together(partly_broken):
    paths = ImageFolder(partly_broken).paths
    with pytest.raises(Mistake, match=r"2 of 4 images cannot be read.*\(1\) .*broken\.png.*\(2\) .*text\.png"):
        read_images(paths)


def test_broken_files_are_skipped_and_named(partly_broken):
    dataset = ImageFolder(partly_broken)
    read, broken = read_images(dataset.paths, skip_broken=True)
    assert [path.name for path, _ in read] == ["good.png", "other.png"]
    assert len(broken) == 2
    found = readable(dataset)
    assert found.broken == broken
    assert [path.name for path in found.images.paths] == ["good.png", "other.png"]
    assert [found.images[1].path.name, found.images.labels.tolist()] == ["other.png", [0, 0]]
    assert readable(found.images).images is found.images


def test_skipping_leaves_at_least_one(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.png").write_bytes(b"text")
    with pytest.raises(Mistake, match=r"30 of 30 images cannot be read.*And 10 more"):
        readable(ImageFiles(tmp_path))
    with pytest.raises(Mistake, match="30 of 30 images"):
        read_images(sorted(tmp_path.iterdir()), skip_broken=True)


def test_plain_folders_say_nothing(tmp_path):
    saved(tmp_path / "bird" / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageFolder(tmp_path)
