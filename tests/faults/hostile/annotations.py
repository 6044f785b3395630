"""Annotations: tables, lists, XML and MATLAB files that are damaged, of another encoding, endless, or a device."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from faults.hostile.runner import Case
from PIL import Image

import episodes
from episodes.datasets.category_masks import palette_categories, two_byte_categories
from episodes.datasets.cub_parts import part_locations
from episodes.datasets.imagenet import ImageNetValidation
from episodes.datasets.xml_boxes import boxes_on_image, read_xml_boxes
from retrieval_explain.imports.image_lists import read_image_list

XML = (
    "<annotation><size><width>40</width><height>40</height></size><object><name>dog</name><bndbox><xmin>1</xmin>"
    "<ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"
)
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "'
    + "x" * 1000
    + '">'
    + "".join(f'<!ENTITY b{i} "{f"&b{i - 1};" * 10 if i else "&b;" * 10}">' for i in range(9))
    + "]><annotation><object><name>&b8;</name></object></annotation>"
)
BYTES = {
    "empty": b"",
    "NUL": b"\0" * 64,
    "latin": "Vögel,Störche\n".encode("latin-1"),
    "UTF-16": "file,class\n".encode("utf-16"),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "a zip": b"PK\x03\x04" + b"\0" * 100,
    "surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "overlong": b"\xc0\xaf\n",
    "one line of 20 MB": b"x" * 20_000_000,
    "half a character": "1 ä".encode()[:-1],
}
CSV = {
    "field of 200 kB": "{0}" + "y" * 200_000 + "\n",
    "open quote": '{0}"a.png,auk\n',
    "quote in a quote": '{0}"a"b,c,1,2,3,4\n',
    "NUL in a name": "{0}a\0.png,auk,1,2,3,4\n",
    "too many entries": "{0}a.png,auk,1,2,3,4,5,6,7\n",
    "too few entries": "{0}a.png\n",
    "heading alone": "{0}",
    "heading twice": "{0}{0}",
}
EDGES = ("nan", "inf", "-inf", "1e400", "", "one", "0x10", "1,5", "٣x", "1 2", "--1", "NULL")


def cases(folder: Path) -> Iterator[Case]:
    """Yield every reader with every kind of bytes, then what is particular to one."""
    for name, (place, read) in readers(folder).items():
        place.parent.mkdir(parents=True, exist_ok=True)
        for kind, content in BYTES.items():
            yield f"{name}: {kind}", written(place, content, read), "refused"
        yield f"{name}: a FIFO", partial(fifo, place, read), "refused"
        yield f"{name}: a folder", partial(emptied, place, read), "refused"
        yield f"{name}: a device", partial(device, place, read), "refused"
        yield f"{name}: nothing", partial(absent, place, read), "refused"
    for name, heading in {
        "csv": "file,class,xmin,ymin,xmax,ymax\n",
        "split": "class,part\n",
        "train": "filename,label\n",
    }.items():
        place, read = readers(folder)[name]
        for kind, template in CSV.items():
            if (name, kind) not in (("split", "heading alone"), ("train", "heading twice")):
                yield f"{name}: {kind}", written(place, template.format(heading).encode(), read), "refused"
        yield (
            f"{name}: heading without a column",
            written(place, heading.replace("class", "x").replace("label", "x").encode(), read),
            "refused",
        )
        yield (
            f"{name}: a column twice",
            written(place, heading.strip().encode() + b",class,label\n1,2,3,4\n", read),
            "refused",
        )
    yield from boxes(folder)
    yield from trees(folder)
    yield from masks(folder)


def readers(folder: Path) -> dict[str, tuple[Path, Callable[[], object]]]:
    """Return, for each reader of text, the file that it reads and what reads it."""
    cub, voc, kit = folder / "cub", folder / "voc" / "VOCdevkit" / "VOC2012", folder / "kit"
    for place, text in {
        cub / "classes.txt": "1 auk\n",
        cub / "image_class_labels.txt": "1 1\n",
        cub / "bounding_boxes.txt": "1 1 1 5 5\n",
        folder / "parts" / "part_locs.txt": "1 1 5 5 1\n",
    }.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for place in (voc / "JPEGImages", voc / "Annotations", kit / "ILSVRC" / "Data" / "CLS-LOC" / "val"):
        place.mkdir(parents=True, exist_ok=True)
    split = folder / "split.csv"
    return {
        "csv": (folder / "csv" / "annotations.csv", partial(episodes.CsvBoxes, folder / "csv")),
        "split": (split, partial(episodes.Split.load, split)),
        "train": (folder / "mini" / "train.csv", partial(episodes.MiniImageNet, folder / "mini")),
        "CUB": (cub / "images.txt", partial(episodes.Cub200, cub)),
        "CUB parts": (folder / "parts" / "parts.txt", partial(part_locations, folder / "parts")),
        "pets": (folder / "pets" / "annotations" / "list.txt", partial(episodes.OxfordPet, folder / "pets")),
        "VOC": (voc / "ImageSets" / "Main" / "trainval.txt", partial(episodes.PascalVoc, folder / "voc")),
        "solution": (kit / "LOC_val_solution.csv", partial(ImageNetValidation, kit)),
        "XML": (folder / "a.xml", partial(read_xml_boxes, folder / "a.xml")),
        "image list": (folder / "list.txt", partial(nothing_odd, folder / "list.txt")),
    }


def nothing_odd(path: Path) -> object:
    """Read a list of images; one that names none of them is refused later, by the number of embeddings."""
    listed = read_image_list(path)
    if any(len(name or "") > 4096 for name in listed.paths):
        raise episodes.errors.Mistake("a name that no system has")
    return listed


def written(place: Path, content: bytes, read: Callable[[], object]) -> Callable[[], object]:
    """Return what writes a file and reads it."""

    def act() -> object:
        place.write_bytes(content)
        return read()

    return act


def fifo(place: Path, read: Callable[[], object]) -> object:
    """Read from a pipe that nobody writes to."""
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    try:
        return read()
    finally:
        place.unlink()


def emptied(place: Path, read: Callable[[], object]) -> object:
    """Read from a folder."""
    place.unlink(missing_ok=True)
    place.mkdir()
    try:
        return read()
    finally:
        place.rmdir()


def device(place: Path, read: Callable[[], object]) -> object:
    """Read from a device without an end."""
    place.unlink(missing_ok=True)
    place.symlink_to("/dev/zero")
    try:
        return read()
    finally:
        place.unlink()


def absent(place: Path, read: Callable[[], object]) -> object:
    """Read what is not there."""
    place.unlink(missing_ok=True)
    return read()


def boxes(folder: Path) -> Iterator[Case]:
    """Yield edges that are no numbers, and boxes that are none."""
    own = folder / "boxes"
    (own / "images").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(own / "images" / "a.png")
    table = own / "annotations.csv"

    def read() -> object:
        return episodes.CsvBoxes(own)[0]

    for place in range(4):
        for edge in EDGES:
            edges = ["1", "1", "20", "20"]
            edges[place] = f'"{edge}"'
            content = "file,class,xmin,ymin,xmax,ymax\na.png,auk," + ",".join(edges) + "\n"
            yield f"box {place} {edge!r}", written(table, content.encode(), read), "refused"
    for edges in ("20,1,1,20", "1,20,20,1", "50,50,60,60", "-9,-9,-5,-5", "1,1,1e30,1e30", "0,0,-1,-1"):
        content = f"file,class,xmin,ymin,xmax,ymax\na.png,auk,{edges}\n"
        yield f"box {edges}", written(table, content.encode(), read), "refused"
    for name, text in {
        "CRLF": "file,class,xmin,ymin,xmax,ymax\r\na.png,auk,1,1,20,20\r\n",
        "CR": "file,class,xmin,ymin,xmax,ymax\ra.png,auk,1,1,20,20\r",
        "mixed": "\ufefffile,class,xmin,ymin,xmax,ymax\ra.png,auk,1,1,20,20\r\n\na.png,auk,1,1,20,20",
    }.items():
        yield f"ends of lines: {name}", written(table, text.encode(), read), lambda image: image.class_name == "auk"


def trees(folder: Path) -> Iterator[Case]:
    """Yield XML that is none, stands for gigabytes, or lacks what a box needs."""
    path = folder / "tree.xml"

    def read() -> object:
        return boxes_on_image(read_xml_boxes(path), ["dog"], (40, 40))

    yield "XML as it should be", written(path, XML.encode(), read), "taken"
    yield (
        "XML in UTF-16",
        written(path, ('<?xml version="1.0" encoding="utf-16"?>' + XML).encode("utf-16"), read),
        "taken",
    )
    odd = {
        "bomb of entities": BOMB,
        "entity of a file": '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + XML.replace("dog", "&b;"),
        "entity of a parameter": '<!DOCTYPE a [<!ENTITY % b "c"> %b;]>' + XML,
        "elements 100,000 deep": "<a>" * 100_000 + "</a>" * 100_000,
        "encoding that is none": '<?xml version="1.0" encoding="none-such"?>' + XML,
        "encoding of many bytes": '<?xml version="1.0" encoding="utf-7"?>' + XML,
        "two roots": XML + XML,
        "cut": XML[:100],
        "no object": "<annotation/>",
        "no name": XML.replace("<name>dog</name>", ""),
        "no edge": XML.replace("<xmax>20</xmax>", ""),
        "20 MB": XML.replace("dog", "d" * 20_000_000),
        "a size of nothing": XML.replace("<width>40", "<width>nan"),
        "a size without end": XML.replace("<width>40", "<width>inf"),
        "a size of 10^30": XML.replace("<width>40", "<width>1e30"),
    }
    for name, text in odd.items():
        yield f"XML: {name}", written(path, text.encode(), read), "refused"
    bomb = BOMB.replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16")
    yield "XML: bomb in UTF-16", written(path, bomb, read), "refused"
    for edge in EDGES:
        for name in ("xmin", "ymax"):
            text = XML.replace(f"<{name}>", f"<{name}>{edge}<!--").replace(f"</{name}>", f"--></{name}>")
            yield f"XML {name} {edge!r}", written(path, text.encode(), read), "refused"


def masks(folder: Path) -> Iterator[Case]:
    """Yield masks that are no masks."""
    path = folder / "mask.png"
    whole = folder / "whole.png"
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(whole)
    color = folder / "color.png"
    Image.new("RGB", (20, 20)).save(color)
    for read in (palette_categories, two_byte_categories):
        for kind, content in BYTES.items():
            yield f"{read.__name__}: {kind}", written(path, content, partial(read, path)), "refused"
        for kept in (8, 20, 40):
            content = whole.read_bytes()[:kept]
            yield f"{read.__name__}: cut at {kept}", written(path, content, partial(read, path)), "refused"
    yield "palette of a color picture", partial(palette_categories, color), "refused"
    yield "two bytes of a gray picture", partial(two_byte_categories, whole), "refused"
