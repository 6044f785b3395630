"""The papers' data sets in their official layouts, tiny; and weights in the layouts of their releases."""

import csv
import io

import numpy as np
import torch
from PIL import Image
from references import official_layouts

from fsl_explain import Encoder

CLASSES = tuple(f"{number:03d}.Bird_{number}" for number in range(1, 13))
WNIDS = ("n00000001", "n00000002")
SIDE = 48


def write_noise(path, seed):
    """Write a picture of colored blocks, no two alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    picture.save(path, format="JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_cub(root, images_of_a_class=4):
    """CUB-200-2011: half of the classes are base in smoke-split.csv, half novel."""
    names = [f"{name}/{name}_{image}.jpg" for name in CLASSES for image in range(images_of_a_class)]
    labels = [1 + number // images_of_a_class for number in range(len(names))]
    write_lines(root / "classes.txt", [f"{number} {name}" for number, name in enumerate(CLASSES, 1)])
    write_lines(root / "images.txt", [f"{number} {name}" for number, name in enumerate(names, 1)])
    write_lines(root / "image_class_labels.txt", [f"{number} {label}" for number, label in enumerate(labels, 1)])
    write_lines(root / "bounding_boxes.txt", [f"{number} 8.0 8.0 24.0 30.0" for number in range(1, len(names) + 1)])
    write_lines(root / "train_test_split.txt", [f"{number} {number % 2}" for number in range(1, len(names) + 1)])
    for number, name in enumerate(names):
        write_noise(root / "images" / name, number)
    parts = ["base" if number % 2 else "novel" for number in range(len(CLASSES))]
    rows = [f"{name},{part}" for name, part in zip(CLASSES, parts, strict=True)]
    write_lines(root.parent / "smoke-split.csv", ["class,part", *rows])


def write_imagenet(root):
    """ILSVRC's validation images with XML boxes, and its training folders."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["ImageId", "PredictionString"])
    for number in range(4):
        stem, wnid = f"ILSVRC2012_val_{number + 1:08d}", WNIDS[number % 2]
        write_noise(root / "ILSVRC/Data/CLS-LOC/val" / f"{stem}.JPEG", 100 + number)
        box = "<xmin>9</xmin><ymin>9</ymin><xmax>32</xmax><ymax>38</ymax>"
        shape = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
        xml = f"<annotation>{shape}<object><name>{wnid}</name><bndbox>{box}</bndbox></object></annotation>"
        write_lines(root / "ILSVRC/Annotations/CLS-LOC/val" / f"{stem}.xml", [xml])
        rows.writerow([stem, f"{wnid} 9 9 32 38 "])
    write_lines(root / "LOC_val_solution.csv", [table.getvalue().rstrip()])
    for number in range(8):
        wnid = WNIDS[number % 2]
        write_noise(root / "ILSVRC/Data/CLS-LOC/train" / wnid / f"{wnid}_{number}.JPEG", 200 + number)


def write_imagenet_s(root):
    """ImageNet-S: masks whose red and green hold the category's number."""
    for number in range(4):
        wnid, category = WNIDS[number % 2], 1 + number % 2
        write_noise(root / "validation" / wnid / f"{number}.JPEG", 300 + number)
        mask = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        mask[8:38, 8:32, 0] = category
        path = root / "validation-segmentation" / wnid / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    write_lines(root.parent / "smoke-categories.txt", list(WNIDS))


def write_voc(root):
    """PASCAL VOC 2012: palette masks of one category each."""
    stems = [f"2007_{number:06d}" for number in range(4)]
    for number, stem in enumerate(stems):
        write_noise(root / "VOC2012/JPEGImages" / f"{stem}.jpg", 400 + number)
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[8:38, 8:32] = (1, 7)[number % 2]
        picture = Image.fromarray(mask)
        picture.putpalette([index * 7 % 256 for index in range(768)])
        path = root / "VOC2012/SegmentationClass" / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    write_lines(root / "VOC2012/ImageSets/Segmentation/trainval.txt", stems)


WRITERS = {
    "cub": write_cub,
    "imagenet-validation": write_imagenet,
    "imagenet-s": write_imagenet_s,
    "pascal-voc": write_voc,
}


def random_state(name):
    """Return the state of a named network with random weights, the head's below ``head.``."""
    encoder = Encoder.named(name, size=64)
    head = {f"head.{key}": value for key, value in encoder.head.state_dict().items()}
    return {**encoder.network.state_dict(), **head}


def write_weights(name, path):
    """Write random weights of a named network as its official release lays them out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {
        "npid-resnet18": official_layouts.npid,
        "npid-resnet50": official_layouts.npid,
        "moco-resnet50": official_layouts.moco_v1,
        "simclr-resnet50": official_layouts.bolts_simclr,
        "swav-resnet50": official_layouts.swav,
        "supervised-resnet50": dict,
        "bn-inception": official_layouts.cadene_imagenet,
    }[name]
    torch.save(layout(random_state(name)), path)
