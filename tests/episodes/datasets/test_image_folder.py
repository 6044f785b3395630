import pytest
from PIL import Image

from episodes.datasets.image_folder import ImageFolder
from episodes.labeled_image import LabeledImages


@pytest.fixture
def birds(tmp_path):
    for index, name in enumerate(["wren/b.png", "wren/a.jpg", "auk/c.png", ".cache/d.png", "auk/.e.png"]):
        path = tmp_path / "birds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4 + index, 4)).save(path)
    (tmp_path / "birds" / "readme.txt").write_text("two species")
    return tmp_path / "birds"


def test_classes_and_images_are_sorted(birds):
    folder = ImageFolder(birds)
    assert isinstance(folder, LabeledImages)
    assert folder.name == "birds"
    assert folder.classes == ("auk", "wren")
    assert folder.labels.tolist() == [0, 1, 1]
    assert [path.name for path in folder.paths] == ["c.png", "a.jpg", "b.png"]


def test_an_image_carries_its_class_and_path(birds):
    labeled = ImageFolder(str(birds))[1]
    assert (labeled.label, labeled.class_name, labeled.path) == (1, "wren", birds / "wren" / "a.jpg")
    assert labeled.image.size == (5, 4)
    assert (labeled.boxes, labeled.mask) == (None, None)


def test_links_back_to_the_root_are_skipped(birds):
    (birds / "again").symlink_to(birds)
    (birds / "above").symlink_to(birds.parent)
    (birds / "itself").symlink_to(birds / "itself")
    assert ImageFolder(birds).classes == ("auk", "wren")


def test_a_link_to_a_class_folder_elsewhere_is_a_class(birds):
    (birds / "robin").symlink_to(birds / "wren")
    assert ImageFolder(birds).labels.tolist() == [0, 1, 1, 2, 2]


def test_an_empty_class_folder_is_named(birds):
    (birds / "tern").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*birds/tern holds no PNG, JPEG or WebP image; add some"):
        ImageFolder(birds)


def test_no_root_no_folders_no_folder(tmp_path, birds):
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        ImageFolder(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"wren holds no class folder; expected wren/<class>/<image>"):
        ImageFolder(birds / "wren")
    with pytest.raises(ValueError, match=r"expected a folder of class folders, but .* is a file"):
        ImageFolder(birds / "wren" / "a.jpg")
