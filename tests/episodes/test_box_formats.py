import PIL.Image
import pytest

from episodes import CsvBoxes
from episodes.box_formats import COLUMNS, EDGES, FORMATS
from episodes.errors import Mistake, UnknownName
from retrieval_explain.inspection.query_region import cut_region, region_edges

# the box from (2, 4) to (8, 10) in an image of 20 x 40 pixels
NUMBERS = {
    "xyxy": (2, 4, 8, 10),
    "xywh": (2, 4, 6, 6),
    "cxcywh": (5, 7, 6, 6),
    "relative-xyxy": (0.1, 0.1, 0.4, 0.25),
    "relative-xywh": (0.1, 0.1, 0.3, 0.15),
    "relative-cxcywh": (0.25, 0.175, 0.3, 0.15),
}


def table(root, numbers, columns=EDGES):
    (root / "images").mkdir(exist_ok=True)
    PIL.Image.new("RGB", (20, 40)).save(root / "images" / "a.png")
    line = ",".join(map(str, numbers))
    (root / "annotations.csv").write_text(f"file,class,{','.join(columns)}\na.png,bird,{line}\n")
    return root


@pytest.mark.parametrize("box_format", FORMATS)
@pytest.mark.parametrize("own_columns", [False, True])
def test_every_format_says_the_same_box(tmp_path, box_format, own_columns):
    columns = COLUMNS[box_format.removeprefix("relative-")] if own_columns else EDGES
    dataset = CsvBoxes(table(tmp_path, NUMBERS[box_format], columns), box_format=box_format, inclusive=False)
    assert dataset[0].boxes.tolist()[0] == pytest.approx([2, 4, 8, 10])


def test_an_unknown_format_has_nearest_names(tmp_path):
    with pytest.raises(UnknownName, match="xywh"):
        CsvBoxes(table(tmp_path, (2, 4, 8, 10)), box_format="xywhh")


@pytest.mark.parametrize(
    ("box_format", "numbers", "message"),
    [
        ("xyxy", (0.1, 0.1, 0.4, 0.25), r"line 2: .* looks relative .*; give box_format=relative-xyxy"),
        ("xywh", (0.1, 0.1, 0.4, 0.25), r"line 2: .*; give box_format=relative-xywh"),
        ("xyxy", (12, 14, 6, 6), r"line 2: .* inverted and looks like .*; give box_format=xywh"),
        ("relative-xyxy", (2, 4, 8, 10), r"line 2: .* should be relative, up to 1; for pixels give box_format=xyxy"),
    ],
)
def test_numbers_of_another_format_are_refused_with_their_line(tmp_path, box_format, numbers, message):
    with pytest.raises(Mistake, match=message):
        CsvBoxes(table(tmp_path, numbers), box_format=box_format)


@pytest.mark.parametrize("box_format", FORMATS)
def test_every_format_says_the_same_region(box_format):
    image = PIL.Image.new("RGB", (20, 40))
    edges = region_edges(image, tuple(map(float, NUMBERS[box_format])), box_format)
    assert edges == pytest.approx((2, 4, 8, 10))
    assert cut_region(image, edges).size == (6, 6)


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_relative_regions_end_with_their_image_and_other_formats_are_refused(kind):
    image = PIL.Image.new("RGB", (30, 7))
    whole = (0.5, 0.5, 1.0, 1.0) if kind == "cxcywh" else (0.0, 0.0, 1.0, 1.0)
    assert region_edges(image, whole, f"relative-{kind}") == (0, 0, 30, 7)
    with pytest.raises(Mistake, match=rf"--box: the box \(2, 3, 4, 5\) should be relative, .*box_format={kind}"):
        region_edges(image, (2.0, 3.0, 4.0, 5.0), f"relative-{kind}")
    with pytest.raises(UnknownName, match="unknown format of boxes 'xyhw'"):
        region_edges(image, (2.0, 3.0, 4.0, 5.0), "xyhw")


def test_a_region_that_looks_relative_or_like_a_width_is_refused():
    image = PIL.Image.new("RGB", (20, 40))
    with pytest.raises(Mistake, match=r"0\.5 0\.5 looks relative to its size; give --box-format relative-xyxy"):
        cut_region(image, (0.1, 0.1, 0.5, 0.5))
    with pytest.raises(Mistake, match=r"looks like x y width height; that would be 10 10 15 14, or --box-format xywh"):
        cut_region(image, (10, 10, 5, 4))
    assert cut_region(image, (0, 0, 1, 1)).size == (1, 1)
