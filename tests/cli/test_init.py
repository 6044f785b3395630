"""``fsl-explain init``: from a folder of one's own to a table, with nothing in between but the file that it writes."""

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from episodes import ImageFolder
from fsl_explain.cli.app import run
from fsl_explain.cli.opened_headers import opened_headers
from fsl_explain.config import EvaluationConfig, read_config

WEIGHTLESS = ("--encoder", "conv4net")
OF_PLACES = ("proportion", "intersection_over_union", "pointing_game")


def write_images(folder, counts):
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(random.integers(0, 255, (40, 48, 3), np.uint8)).save(folder / name / f"{index}.png")
    return folder


def write_boxes(table, folder, heading=("file", "class", "xmin", "ymin", "xmax", "ymax"), box=(5, 6, 30, 28)):
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(heading)
        for path in sorted(folder.rglob("*.png")):
            rows.writerow([path.relative_to(folder).as_posix(), path.parent.name, *box])


def begun(images, out, *more):
    assert run(["init", str(images), "--out", str(out), *WEIGHTLESS, *map(str, more)]) == 0
    return read_config(out, EvaluationConfig)


def measured(out, results):
    assert run(["evaluate", "--config", str(out), "--out", str(results), "--limit", "2"]) == 0
    return json.loads((results / "summary.json").read_text())


def test_class_folders_without_boxes_are_measured_at_once(tmp_path, capsys):
    images = write_images(tmp_path / "birds", {"owl": 4, "tern": 3, "wren": 5})
    settings = begun(images, tmp_path / "birds.toml")
    said = capsys.readouterr().out
    assert "12 images of 3 classes" in said
    assert "--skip-broken" not in said
    assert "figures that need them are left out" in said
    assert (settings.episodes.n_way, settings.episodes.n_shot, settings.episodes.n_query) == (3, 1, 2)
    text = (tmp_path / "birds.toml").read_text()
    assert "No boxes or masks were found" in text
    assert "The smallest class, tern, has 3 images for both" in text.replace("\n# ", " ")
    summary = measured(tmp_path / "birds.toml", tmp_path / "results" / "birds")
    assert summary["episodes"] == 2
    assert all(summary["methods"]["contrast"][name]["mean"] is None for name in OF_PLACES)
    assert summary["methods"]["contrast"]["average_drop"]["mean"] is not None
    table = capsys.readouterr().out
    assert "Pointing % ↑" not in table
    assert "–" not in table
    left_out = "No judged image has boxes or masks: figures that ask where the object is are left out (Proportion, IoU,"
    assert left_out in " ".join(table.split())


def test_the_line_that_the_file_names_loads_the_results_in_pandas(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    begun(write_images(tmp_path / "birds", {"owl": 3, "wren": 3}), Path("birds.toml"))
    summary = measured(Path("birds.toml"), Path("results/birds"))
    line = re.search(r"pandas\.read_parquet\(.*\)", Path("birds.toml").read_text())
    table = eval(line.group(), {"pandas": pandas})
    assert len(table) == summary["queries"] * len(summary["methods"])
    assert {"path", "class", "predicted", "method", "average_drop"} <= set(table.columns)
    drops = table[table["method"] == "fam"].groupby("episode")["average_drop"].mean()
    assert drops.mean() == pytest.approx(summary["methods"]["fam"]["average_drop"]["mean"], rel=1e-5)


def test_a_table_of_boxes_in_the_folder_brings_the_other_figures(tmp_path, capsys):
    images = write_images(tmp_path / "birds", {"owl": 3, "tern": 3})
    write_boxes(images / "boxes.csv", images)
    settings = begun(images, tmp_path / "birds.toml")
    assert settings.data.kind == "csv"
    assert "boxes were found" in capsys.readouterr().out
    assert "No boxes" not in (tmp_path / "birds.toml").read_text()
    figures = measured(tmp_path / "birds.toml", tmp_path / "results")["methods"]["contrast"]
    assert all(figures[name]["mean"] is not None for name in OF_PLACES)
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edges", "box", "expected"),
    [
        (("xmin", "ymin", "xmax", "ymax"), (0.1, 0.2, 0.7, 0.8), "relative-xyxy"),
        (("x", "y", "width", "height"), (5, 6, 20, 20), "xywh"),
        (("cx", "cy", "width", "height"), (0.5, 0.5, 0.4, 0.4), "relative-cxcywh"),
    ],
)
def test_the_format_of_boxes_and_the_names_of_columns_are_recognized(edges, box, expected, tmp_path):
    images = write_images(tmp_path / "photos" / "images", {"owl": 3, "tern": 3})
    write_boxes(tmp_path / "elsewhere.csv", images, ("filename", "label", *edges), box)
    settings = begun(images.parent, tmp_path / "birds.toml", "--boxes", tmp_path / "elsewhere.csv")
    assert settings.data.box_format == expected
    assert settings.data.images == "images"
    assert settings.data.open()[0].boxes is not None


def test_official_layouts_are_recognized(cub10, pets, tmp_path):
    assert begun(cub10, tmp_path / "cub.toml").data.kind == "cub"
    assert begun(pets, tmp_path / "pets.toml").data.kind == "oxford-pet"


def test_classes_of_one_image_are_left_out_and_named(tmp_path):
    images = write_images(tmp_path / "birds", {"owl": 2, "tern": 1, "wren": 9})
    settings = begun(images, tmp_path / "birds.toml")
    assert settings.data.classes == ("owl", "wren")
    assert settings.episodes.n_query == 1
    assert "are left out: tern." in (tmp_path / "birds.toml").read_text()
    assert len(settings.data.open()) == 11


def test_files_that_are_no_images_are_named_and_not_counted(tmp_path, capsys):
    images = write_images(tmp_path / "birds", {"owl": 4, "tern": 9, "wren": 3})
    header = (images / "owl" / "0.png").read_bytes()[:20]
    for name in ("owl/1.png", "wren/0.png", "wren/2.png", *(f"tern/{number}.png" for number in range(4))):
        (images / name).write_bytes({"owl/1.png": b"", "wren/0.png": header}.get(name, b"no image"))
    settings = begun(images, tmp_path / "birds.toml")
    said, told = capsys.readouterr()
    named = "owl/1.png, tern/0.png, tern/1.png, tern/2.png, tern/3.png and 2 more."
    assert f"7 of 16 files cannot be opened as images and are not counted: {named}" in " ".join(told.split())
    assert "9 images of 3 classes" in said
    assert "--skip-broken" in said
    text = " ".join((tmp_path / "birds.toml").read_text().replace("\n#", "").split())
    assert f"not counted: {named}" in text
    assert "--out results/birds --skip-broken" in text
    assert "are left out: wren." in text
    assert "smallest class, owl, has 3 images" in text
    assert settings.episodes.n_query == 2
    assert run(["evaluate", "--config", str(tmp_path / "birds.toml"), "--limit", "1", "--skip-broken"]) == 0


def test_of_very_many_files_a_sample_is_opened(tmp_path):
    images = write_images(tmp_path / "birds", {"owl": 4, "tern": 4})
    for name in ("owl/0.png", "tern/1.png"):
        (images / name).write_bytes(b"no image")
    data = ImageFolder(images)
    found = opened_headers(data, images, most=4)
    assert found.sentence == (
        "1 of 4 files cannot be opened as an image and is not counted: owl/0.png. The other 4 files were not opened."
    )
    assert found.counts.tolist() == [False] + [True] * 7
    assert opened_headers(data, images, most=8).sentence.startswith("2 of 8 files cannot be opened as images and are")
    (images / "owl" / "0.png").write_bytes((images / "owl" / "1.png").read_bytes())
    assert opened_headers(data, images, most=4).sentence == (
        "4 of 8 files were opened, and all of them are images. The other 4 files were not opened."
    )


def test_large_sets_get_usual_episodes(tmp_path):
    images = write_images(tmp_path / "birds", {f"class {number}": 9 for number in range(7)})
    sizes = begun(images, tmp_path / "birds.toml").episodes
    assert (sizes.count, sizes.n_way, sizes.n_shot, sizes.n_query) == (100, 5, 1, 5)


def test_every_setting_stands_below_a_comment(tmp_path):
    begun(write_images(tmp_path / "birds", {"owl": 2, "wren": 2}), tmp_path / "birds.toml")
    text = (tmp_path / "birds.toml").read_text()
    for section in tomllib.loads(text):
        assert re.search(rf"^#.*\n\[{section}\]$", text, flags=re.MULTILINE)


def test_the_place_of_the_images_is_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "birds", {'o"wl': 2, "wren\\#1": 2})
    settings = begun("birds", Path("configs/new/birds.toml"))
    assert tomllib.loads((tmp_path / "configs/new/birds.toml").read_text())["data"]["root"] == "../../birds"
    assert len(settings.data.open()) == 4


def refused(capsys, *arguments):
    assert run(["init", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_what_is_there_is_never_overwritten(tmp_path, capsys):
    images = write_images(tmp_path / "birds", {"owl": 2, "wren": 2})
    (tmp_path / "mine.toml").write_text("mine")
    assert "choose another --out" in refused(capsys, images, "--out", tmp_path / "mine.toml")
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_folders_without_classes_and_several_tables_are_one_sentence(tmp_path, capsys):
    out = ("--out", tmp_path / "new.toml")
    few = write_images(tmp_path / "few", {"owl": 3, "wren": 1})
    assert "at least two classes of at least two images" in refused(capsys, few, *out)
    write_boxes(few / "one.csv", few)
    write_boxes(few / "other.csv", few)
    assert "one.csv, other.csv; name one with --boxes" in refused(capsys, few, *out)
    (tmp_path / "list.csv").write_text("file,class\n")
    assert "expected the columns" in refused(capsys, few, *out, "--boxes", tmp_path / "list.csv")
    assert "is a file" in refused(capsys, few / "one.csv", *out)
    assert not (tmp_path / "new.toml").exists()
