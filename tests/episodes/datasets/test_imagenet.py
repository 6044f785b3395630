import tarfile

import numpy as np
import pytest
import scipy.io
from image_sets import check_law, forbid_reading, write_image, write_text, write_xml
from torchvision.datasets import imagenet as torchvision_imagenet

from episodes.datasets import imagenet
from episodes.datasets.imagenet import ImageNetValidation

WNID_OF = {1: "n02119789", 2: "n01440764", 3: "n02119789"}
SOLUTION = (
    "ImageId,PredictionString\n"
    "ILSVRC2012_val_00000003,n02119789 2 3 7 8 \n"
    "ILSVRC2012_val_00000001,n02119789 2 3 7 8 n02119789 1 1 12 10 \n"
    "ILSVRC2012_val_00000002,n01440764 1 1 2 2 \n"
)
KIT_FIELDS = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]


def write_devkit(folder, truth="1\n2\n1\n"):
    """The kit's numbers are not the sorted order: its 1 is n02119789, its 2 is n01440764; 3 is no leaf."""
    rows = [(1, "n02119789", "kit fox", "a fox", 0), (2, "n01440764", "tench", "a fish", 0), (3, "n00001", "x", "y", 2)]
    write_text(folder / "data" / "ILSVRC2012_validation_ground_truth.txt", truth)
    scipy.io.savemat(folder / "data" / "meta.mat", {"synsets": np.array(rows, dtype=KIT_FIELDS)[:, None]})


@pytest.fixture
def annotated(tmp_path):
    """The images and XML files of the Kaggle layout, without anything that says the classes."""
    for number, wnid in WNID_OF.items():
        stem = f"ILSVRC2012_val_{number:08d}"
        write_image(tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val" / f"{stem}.JPEG")
        write_xml(tmp_path / "ILSVRC" / "Annotations" / "CLS-LOC" / "val" / f"{stem}.xml", [(wnid, 2, 3, 7, 8)])
    return tmp_path


@pytest.fixture
def official(annotated):
    write_text(annotated / "LOC_val_solution.csv", SOLUTION)
    return annotated


def check_the_three_images(photographs):
    check_law(photographs)
    assert photographs.classes == ("n01440764", "n02119789")
    assert photographs.labels.tolist() == [1, 0, 1]
    assert [path.name[-6:] for path in photographs.paths] == ["1.JPEG", "2.JPEG", "3.JPEG"]
    assert photographs[0].boxes.tolist() == [[2, 3, 8, 9]]


def test_classes_from_the_solution(official):
    check_the_three_images(ImageNetValidation(official))
    check_the_three_images(ImageNetValidation(official / "ILSVRC"))


def test_classes_from_the_development_kit(annotated):
    write_devkit(annotated / "ILSVRC2012_devkit_t12")
    check_the_three_images(ImageNetValidation(annotated))


def test_the_kit_is_read_as_torchvision_reads_it(annotated, monkeypatch):
    write_devkit(annotated / "ILSVRC2012_devkit_t12")
    with tarfile.open(annotated / "kit.tar.gz", "w:gz") as archive:
        archive.add(annotated / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    monkeypatch.setattr(torchvision_imagenet, "_verify_archive", lambda *_: None)
    torchvision_imagenet.parse_devkit_archive(annotated, "kit.tar.gz")
    _, wnids = torchvision_imagenet.load_meta_file(annotated)
    photographs = ImageNetValidation(annotated)
    assert [photographs.classes[label] for label in photographs.labels] == wnids


def test_classes_from_folders(annotated):
    flat = annotated / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    for number, wnid in WNID_OF.items():
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (flat / wnid).mkdir(exist_ok=True)
        (flat / name).rename(flat / wnid / name)
    photographs = ImageNetValidation(annotated)
    check_law(photographs)
    assert photographs.labels.tolist() == [0, 1, 1]
    assert photographs[0].boxes.tolist() == [[2, 3, 8, 9]]


def test_every_class_of_the_mapping_has_a_label(official):
    write_text(official / "LOC_synset_mapping.txt", "n02119789 kit fox\nn01443537 goldfish\nn01440764 tench, Tinca\n")
    photographs = ImageNetValidation(official)
    assert photographs.classes == ("n01440764", "n01443537", "n02119789")
    assert photographs.labels.tolist() == [2, 0, 2]
    write_text(official / "LOC_synset_mapping.txt", "n01440764 tench\n")
    with pytest.raises(ValueError, match=r"LOC_synset_mapping\.txt lacks the class n02119789"):
        ImageNetValidation(official)


def test_opening_reads_neither_images_nor_annotations(official, monkeypatch):
    forbid_reading(monkeypatch, imagenet)
    monkeypatch.setattr(imagenet, "read_xml_boxes", lambda path: pytest.fail(f"{path} was read"))
    assert len(ImageNetValidation(official)) == 3


def test_folders_of_another_name(official):
    (official / "ILSVRC" / "Data" / "CLS-LOC" / "val").rename(official / "pictures")
    photographs = ImageNetValidation(official, images="pictures", annotations="ILSVRC/Annotations/CLS-LOC/val")
    check_the_three_images(photographs)
    with pytest.raises(FileNotFoundError, match=r"found no images of ImageNet's validation set in .*Data/CLS-LOC/val"):
        ImageNetValidation(official)
    with pytest.raises(FileNotFoundError, match=r"found no XML annotations .* expected the folder boxes"):
        ImageNetValidation(official, images="pictures", annotations="boxes")


def test_an_annotation_of_another_class(official):
    write_xml(official / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml", [("n02119789", 1, 1, 2, 2)])
    with pytest.raises(ValueError, match=r"00000002\.xml is of n02119789, but its image is listed as n01440764"):
        ImageNetValidation(official)[1]


def test_classes_that_nothing_tells(annotated):
    with pytest.raises(FileNotFoundError, match=r"the classes of the images in .* are unknown; put LOC_val_solution"):
        ImageNetValidation(annotated)


def test_the_numbers_of_the_kit_mean_nothing_alone(annotated):
    write_devkit(annotated / "ILSVRC2012_devkit_t12")
    (annotated / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"meta\.mat does not exist; without it .* class numbers mean nothing"):
        ImageNetValidation(annotated)


def test_a_bad_kit(annotated):
    kit = annotated / "ILSVRC2012_devkit_t12"
    write_devkit(kit, truth="1\n3\n1\n")
    with pytest.raises(ValueError, match=r"ground_truth\.txt, line 2: expected the number of a class .*, but got '3'"):
        ImageNetValidation(annotated)
    (kit / "data" / "ILSVRC2012_validation_ground_truth.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"validation_ground_truth\.txt does not exist"):
        ImageNetValidation(annotated)
    (kit / "data" / "meta.mat").write_bytes(b"no matlab")
    with pytest.raises(ValueError, match=r"meta\.mat is not the development kit's list of synsets"):
        ImageNetValidation(annotated)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image,boxes\n", r"expected the columns ImageId and PredictionString, but got \['image', 'boxes'\]"),
        ("ImageId,PredictionString\n", "lists no image"),
        ("ImageId,PredictionString\na\n", r"line 2: expected an image and the boxes of one class"),
        ("ImageId,PredictionString\na,n1 1 1 2 2 n2 1 1 2 2\n", r"line 2: expected .* of one class"),
        ("ImageId,PredictionString\na,n1 1 1 2 2\na,n1 1 1 2 2\n", r"line 3: a stands above already"),
        ("ImageId,PredictionString\na,\n", r"line 2: expected .* of one class"),
    ],
)
def test_a_bad_solution(official, text, fault):
    write_text(official / "LOC_val_solution.csv", text)
    with pytest.raises(ValueError, match=rf"LOC_val_solution\.csv.*{fault}"):
        ImageNetValidation(official)


def test_missing_files_are_named_when_they_are_read(official):
    (official / "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG").unlink()
    (official / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml").unlink()
    photographs = ImageNetValidation(official)
    with pytest.raises(FileNotFoundError, match=r"the image .*00000001\.JPEG does not exist"):
        photographs[0]
    with pytest.raises(FileNotFoundError, match=r"the annotation .*00000002\.xml does not exist"):
        photographs[1]


def test_hidden_folders_are_no_classes(official):
    (official / "ILSVRC" / "Data" / "CLS-LOC" / "val" / ".checkpoints").mkdir()
    check_the_three_images(ImageNetValidation(official))
