"""Every image below a folder, in one order, without labels."""

import PIL.Image
import pytest

from episodes import ImageFiles, LabeledImages


def test_images_are_found_however_deep(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/c/d.webp", "a/notes.txt", ".hidden/x.png", "a/.y.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("no image")
        else:
            PIL.Image.new("RGB", (4, 4), "red").save(path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    images = ImageFiles(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in images.paths] == ["a/c/d.webp", "a/z.JPG", "b.png"]
    assert isinstance(images, LabeledImages)
    assert (len(images), images.classes, images.labels.tolist(), images.name) == (3, (), [-1] * 3, tmp_path.name)
    first = images[0]
    assert (first.label, first.class_name, first.boxes, first.mask, first.path) == (-1, "", None, None, images.paths[0])
    assert first.image.size == (4, 4)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no PNG, JPEG or WebP image"):
        ImageFiles(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ImageFiles(tmp_path / "nowhere")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"a\.txt is a file"):
        ImageFiles(tmp_path / "a.txt")
