import numpy as np
import pytest
import torch
from image_sets import check_law, write_image
from torchvision import datasets, transforms

from episodes.datasets.torchvision_images import TorchvisionImages


@pytest.fixture
def folder(tmp_path):
    for name in ("auk/a.png", "auk/b.png", "wren/c.png"):
        write_image(tmp_path / name)
    return tmp_path


class Counted(datasets.ImageFolder):
    """Counts the images that are read."""

    read = 0

    def __getitem__(self, index):
        self.read += 1
        return super().__getitem__(index)


def test_labels_names_and_paths_without_reading_an_image(folder):
    counted = Counted(folder)
    wrapped = TorchvisionImages(counted, "birds")
    assert counted.read == 0
    check_law(wrapped)
    assert (wrapped.name, wrapped.classes, wrapped.labels.tolist()) == ("birds", ("auk", "wren"), [0, 0, 1])
    assert wrapped.paths[2] == folder / "wren" / "c.png"


def test_a_generated_set_with_labels_given():
    fake = datasets.FakeData(size=3, image_size=(3, 8, 8), num_classes=2)
    with pytest.raises(ValueError, match="FakeData has none of targets, labels"):
        TorchvisionImages(fake, "fake")
    wrapped = TorchvisionImages(fake, "fake", labels=[1, 0, 2])
    check_law(wrapped)
    assert wrapped.classes == ("0", "1", "2")
    assert wrapped.paths == (None, None, None)
    assert np.array_equal(np.asarray(wrapped[1].image), np.asarray(fake[1][0]))


def test_gray_images_and_tensor_targets():
    digits = datasets.MNIST.__new__(datasets.MNIST)
    digits.data, digits.targets = torch.zeros(2, 6, 6, dtype=torch.uint8), torch.tensor([7, 2])
    digits.transform = digits.target_transform = None
    wrapped = TorchvisionImages(digits, "mnist")
    check_law(wrapped)
    assert wrapped.labels.tolist() == [7, 2]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"labels": [0, 1]}, r"one whole number from 0 per image of x, 3 in all, but got shape \(2,\)"),
        ({"labels": np.array([0.5, 1, 2])}, r"got shape \(3,\) of float64"),
        ({"labels": [-1, 0, 1]}, "expected one whole number from 0"),
        ({"classes": ["auk"]}, "x has labels up to 1, but 1 class names"),
    ],
)
def test_labels_that_do_not_fit(folder, options, fault):
    with pytest.raises(ValueError, match=fault):
        TorchvisionImages(datasets.ImageFolder(folder), "x", **options)


def test_a_set_with_a_transform(folder):
    wrapped = TorchvisionImages(datasets.ImageFolder(folder, transform=transforms.ToTensor()), "x")
    with pytest.raises(TypeError, match="expected a PIL image from x, but got Tensor; open it without a transform"):
        wrapped[0]
