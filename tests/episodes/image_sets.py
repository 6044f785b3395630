"""What the tests of the data sets write and check alike."""

from PIL import Image

from episodes.labeled_image import LabeledImages


def write_image(path, size=(12, 10), color=(90, 60, 30)):
    """Write a plain picture in the format of its suffix, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_xml(path, objects, size=(12, 10)):
    """Write an annotation of (name, xmin, ymin, xmax, ymax), counted from 1 and inclusive."""
    boxes = "".join(
        f"<object><name>{name}</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>"
        f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in objects
    )
    width, height = size
    shape = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    write_text(path, f"<annotation><folder>VOC</folder>{shape}{boxes}</annotation>")


def check_law(dataset):
    """Labels, classes and paths stand before any image is read, and are those of the images."""
    assert isinstance(dataset, LabeledImages)
    assert len(dataset) == len(dataset.labels) == len(dataset.paths)
    for position in range(len(dataset)):
        labeled = dataset[position]
        assert labeled.label == dataset.labels[position]
        assert labeled.class_name == dataset.classes[labeled.label]
        assert labeled.path == dataset.paths[position]
        assert labeled.image.mode == "RGB"


def forbid_reading(monkeypatch, module):
    """Let the module fail when it reads an image, so that a test sees that opening reads none."""

    def refuse(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(module, "read_image", refuse)
