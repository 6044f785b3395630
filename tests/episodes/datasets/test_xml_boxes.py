import pytest
from image_sets import write_text, write_xml
from PIL import Image

from episodes.datasets.xml_boxes import boxes_on_image, read_xml_boxes

EDGES = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.xml"


def test_a_box_of_one_pixel_is_one_pixel_wide(path):
    write_xml(path, [("dog", 1, 1, 1, 1), ("cat", 3, 4, 12, 10)])
    xml = read_xml_boxes(path)
    assert xml.names == ("dog", "cat")
    assert xml.boxes == ((0, 0, 1, 1), (2, 3, 12, 10))
    assert xml.size == (10, 12)


def test_boxes_of_the_named_classes_in_the_order_of_the_file(path):
    write_xml(path, [("dog", 1, 1, 4, 4), ("cat", 1, 1, 2, 2), ("dog", 3, 3, 12, 10)])
    boxes = boxes_on_image(read_xml_boxes(path), {"dog"}, (10, 12))
    assert boxes.tolist() == [[0, 0, 4, 4], [2, 2, 12, 10]]
    assert boxes.canvas_size == (10, 12)
    assert boxes_on_image(read_xml_boxes(path), {"owl"}, (10, 12)).shape == (0, 4)


def test_boxes_follow_a_picture_that_was_resized(path):
    write_xml(path, [("dog", 3, 4, 6, 8)])
    assert boxes_on_image(read_xml_boxes(path), {"dog"}, (20, 24)).tolist() == [[4, 6, 12, 16]]
    write_xml(path, [("dog", 11, 11, 250, 333)], size=(500, 333))
    assert boxes_on_image(read_xml_boxes(path), {"dog"}, (256, 384))[0, 3] == 256


def test_a_picture_of_another_shape(path):
    write_xml(path, [("dog", 3, 4, 6, 8)])
    with pytest.raises(ValueError, match=r"a\.xml was made for a picture of 12x10 pixels, but the image has 10x12"):
        boxes_on_image(read_xml_boxes(path), {"dog"}, (12, 10))


def test_without_a_size_boxes_are_taken_as_they_are(path):
    for size in ("", "<size><width>0</width><height>0</height></size>", "<size><width>x</width></size>"):
        write_text(path, f"<annotation>{size}<object><name>dog</name>{EDGES}</object></annotation>")
        assert boxes_on_image(read_xml_boxes(path), {"dog"}, (4, 5)).tolist() == [[0, 0, 2, 2]]


def test_a_box_outside_its_image(path):
    write_xml(path, [("dog", 3, 4, 16, 8)])
    with pytest.raises(ValueError, match=r"a\.xml: the box \(2, 3, 16, 8\) lies outside the image of 12x10 pixels"):
        boxes_on_image(read_xml_boxes(path), {"dog"}, (10, 12))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<annotation><object>", r"a\.xml is no XML \(.*line 1"),
        ("", r"a\.xml is no XML"),
        ("<annotation></annotation>", r"a\.xml lists no object"),
        (f"<annotation><object>{EDGES}</object></annotation>", r"a\.xml: expected a name in every object"),
        ("<annotation><object><name>dog</name></object></annotation>", r"a\.xml: object 1 should have xmin"),
        (
            f"<annotation><object><name>dog</name>{EDGES.replace('<xmax>2', '<xmax>two')}</object></annotation>",
            r"object 1 should have xmin, ymin, xmax and ymax as numbers, but has \['1', '1', 'two', '2'\]",
        ),
    ],
)
def test_a_bad_file(path, text, fault):
    write_text(path, text)
    with pytest.raises(ValueError, match=fault):
        read_xml_boxes(path)


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"the annotation .*a\.xml does not exist"):
        read_xml_boxes(path)


@pytest.mark.real
def test_the_head_boxes_of_the_pets(pets):
    """Pascal VOC's XML, written by other hands: one head an animal, inside its photograph."""
    paths = sorted((pets / "annotations" / "xmls").glob("*.xml"))
    assert len(paths) == 296
    for path in paths:
        xml = read_xml_boxes(path)
        with Image.open(pets / "images" / f"{path.stem}.jpg") as photograph:
            width, height = photograph.size
        boxes = boxes_on_image(xml, {"cat", "dog"}, (height, width))
        assert len(boxes) == len(xml.names) >= 1
        for left, top, right, bottom in boxes.tolist():
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height


@pytest.mark.parametrize(("first_pixel", "edges"), [(1, (1, 1, 12, 10)), (0, (0, 0, 11, 9))])
@pytest.mark.parametrize("scale", [1, 4])
def test_the_whole_picture_by_either_count_of_pixels(tmp_path, first_pixel, edges, scale):
    write_xml(tmp_path / "a.xml", [("dog", *edges)])
    xml = read_xml_boxes(tmp_path / "a.xml", first_pixel)
    whole = boxes_on_image(xml, {"dog"}, (10 * scale, 12 * scale))
    assert whole.tolist() == [[0, 0, 12 * scale, 10 * scale]]


def test_a_pixel_over_the_edge_is_allowed_on_a_larger_copy_too(tmp_path):
    write_xml(tmp_path / "a.xml", [("dog", 1, 1, 13, 10)])
    assert boxes_on_image(read_xml_boxes(tmp_path / "a.xml"), {"dog"}, (40, 48)).tolist() == [[0, 0, 48, 40]]
