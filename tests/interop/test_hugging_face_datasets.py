"""A split of Hugging Face's ``datasets`` is a data set like any other."""

import numpy as np
import PIL.Image
import pytest
from unchecked import loaded_without_shape_checks

from episodes import EpisodeSampler, HuggingFaceImages, LabeledImages, Mistake


@pytest.fixture
def hub(needs):
    needs("datasets")
    import datasets

    return datasets


@pytest.fixture
def split(hub):
    """Six gray images with a class, a name and boxes, shuffled; image i has the gray 20 i."""
    return hub.Dataset.from_dict(
        {
            "image": [PIL.Image.new("L", (20, 10), 20 * number) for number in range(6)],
            "label": [0, 1, 2, 0, 1, 2],
            "name": ["swan", "tern", None, "swan", "tern", ""],
            "objects": [{"bbox": [[number, 1, 4, 5]] if number else []} for number in range(6)],
        },
        features=hub.Features(
            {
                "image": hub.Image(),
                "label": hub.ClassLabel(names=["x", "y", "z"]),
                "name": hub.Value("string"),
                "objects": {"bbox": hub.List(hub.List(hub.Value("float32"), length=4))},
            }
        ),
    ).shuffle(seed=1)


def grays(images):
    return [images[position].image.getpixel((0, 0))[0] for position in range(len(images))]


def test_the_page(run_page):
    names, printed = run_page("hugging-face-datasets", "datasets")
    images, encoder, bank = names["images"], names["encoder"], names["bank"]
    assert isinstance(images, LabeledImages)
    assert [bank.classes[label] for label in bank.labels] == [images[i].class_name for i in range(len(images))]
    embedded = encoder(encoder.preprocess([images[3].image])).embedding
    found = bank.search(embedded, k=3)
    assert int(found.indices[0, 0]) == 3
    assert names["explanation"].residual < 1e-5
    assert set(names["supports"]) == set(names["colors"])
    assert names["explanation"].decision.name == images[int(names["episode"].query[0, 0])].class_name
    assert printed.startswith("                               weight   similarity")


def test_labels_images_and_names_stay_together(split):
    images = HuggingFaceImages(split, "grays")
    assert images.classes == ("x", "y", "z")
    assert [images[i].label for i in range(6)] == images.labels.tolist() == [gray // 20 % 3 for gray in grays(images)]
    assert images.paths == (None,) * 6
    assert EpisodeSampler(images.labels, n_way=3, n_shot=1, n_query=1)[0].support.shape == (3, 1)


def test_labels_are_read_without_decoding(hub, monkeypatch):
    split = hub.Dataset.from_dict(
        {"image": [{"bytes": b"no image", "path": None}], "label": [2]},
        features=hub.Features({"image": hub.Image(), "label": hub.Value("int64")}),
    )
    images = HuggingFaceImages(split, "broken")
    assert images.labels.tolist() == [2]
    assert images.classes == ("0", "1", "2")
    with pytest.raises(Mistake, match=r"image 0 of broken cannot be read .* drop it with select"):
        images[0]


def test_a_format_and_a_transform_are_left_out(split):
    plain = grays(HuggingFaceImages(split, "grays"))
    assert grays(HuggingFaceImages(split.with_format("numpy"), "grays")) == plain
    assert grays(HuggingFaceImages(split.with_transform(lambda rows: {"image": [0]}), "grays")) == plain


def test_texts_are_classes_sorted_by_name(split):
    images = HuggingFaceImages(split, "grays", label="name")
    assert images.classes == ("swan", "tern")
    assert images.labels.tolist() == [(0, 1, -1)[gray // 20 % 3] for gray in grays(images)]
    unlabeled = images.labels.tolist().index(-1)
    assert (images[unlabeled].label, images[unlabeled].class_name) == (-1, "")
    assert HuggingFaceImages(split, "grays", label=None).labels.tolist() == [-1] * 6


def test_boxes_of_coco_become_edges(split):
    images = HuggingFaceImages(split, "grays", boxes="objects.bbox", box_format="xywh")
    for position, gray in enumerate(grays(images)):
        left = gray // 20
        assert images[position].boxes.tolist() == ([[left, 1, left + 4, 6]] if left else [])


def test_images_in_files_have_paths(hub, tmp_path):
    for name in ("swan", "tern"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (8, 8)).save(tmp_path / "birds" / name / "1.png")
    split = hub.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "birds"), split="train", cache_dir=str(tmp_path / "cache")
    )
    images = HuggingFaceImages(split, "birds")
    assert [path.parent.name for path in images.paths] == ["swan", "tern"]
    assert images.classes == ("swan", "tern")


def test_what_is_no_split_of_images_is_refused(hub, split):
    unchecked = loaded_without_shape_checks("episodes.datasets.hugging_face_images").HuggingFaceImages
    refused = [
        (lambda: unchecked(hub.DatasetDict(train=split), "a"), r"one split of a, .* all of them \(train\)"),
        (lambda: unchecked(split.to_iterable_dataset(), "a"), "got IterableDataset; load a split without"),
        (lambda: HuggingFaceImages(split, "a", image="pixels"), "unknown column of a"),
        (lambda: HuggingFaceImages(split, "a", image="name"), "expected decoded images in the column name of a"),
        (lambda: HuggingFaceImages(split, "a", label="objects"), "expected one class for each image in the column obj"),
        (lambda: HuggingFaceImages(split, "a", boxes="objects.box")[0], "expected boxes in box, but there is no such"),
        (lambda: HuggingFaceImages(split, "a", box_format="coco"), "unknown format of boxes"),
        (lambda: HuggingFaceImages(split.cast_column("image", hub.Image(decode=False)), "a"), "cast it with"),
    ]
    for ask, sentence in refused:
        with pytest.raises(Mistake, match=sentence):
            ask()
    assert np.array_equal(HuggingFaceImages(split, "a").labels, np.asarray(split["label"]))
