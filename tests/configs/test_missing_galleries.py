"""A config whose gallery alone is missing names the gallery, and where its images come from."""

import json
import shutil
from pathlib import Path

import official_sets
import pytest

from fsl_explain.cli.app import run as run_fsl
from fsl_explain.config.data import FolderData
from retrieval_explain.cli.app import run as run_retrieval

CONFIGS = Path(__file__).parents[2] / "configs"
OF_A_GALLERY = sorted(
    path.stem for path in (CONFIGS / "papers").glob("*.toml") if "[gallery]" in path.read_text(encoding="utf-8")
)


def test_configs_with_a_gallery_are_those_of_imagenet():
    models = ("moco-resnet50", "npid-resnet18", "npid-resnet50")
    assert {"fam-figure-3-imagenet", *(f"fam-table-3-imagenet-{model}" for model in models)} == set(OF_A_GALLERY)


@pytest.mark.parametrize("name", OF_A_GALLERY)
def test_a_missing_gallery_is_named_with_where_to_get_it(name, tmp_path, capsys):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    official_sets.write_imagenet(tmp_path / "data" / "ImageNet")
    shutil.rmtree(tmp_path / "data" / "ImageNet" / "ILSVRC" / "Data" / "CLS-LOC" / "train")
    command, run = ("figure", run_fsl) if "figure" in name else ("evaluate", run_retrieval)
    arguments = [
        command,
        "--config",
        str(tmp_path / "configs/papers" / f"{name}.toml"),
        "--out",
        str(tmp_path / "f.png"),
    ]
    assert run(arguments) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "does not exist; get the training images of ILSVRC 2012, from image-net.org, and name its place" in message
    assert "--set gallery.root=" in message
    assert "data.root" not in message


def test_a_folder_without_a_source_is_missing_without_one(tmp_path):
    data = FolderData(kind="image-folder", root=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; name its place as the root, .* data.root=…"):
        data.open()


def test_where_images_come_from_is_not_part_of_what_is_recorded(tmp_path):
    for number in range(4):
        official_sets.write_noise(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", number)
    recorded = []
    for source in ("", 'source = "a site"\n'):
        section = f'kind = "image-folder"\nroot = "photos"\n{source}'
        text = f"[data]\n{section}[gallery]\n{section}[encoder.architecture]\nsize = 16\n"
        text += '[explanation]\nmethods = ["exact"]\n'
        (tmp_path / "run.toml").write_text(text, encoding="utf-8")
        out = tmp_path / f"out{len(recorded)}"
        assert run_retrieval(["evaluate", "--config", str(tmp_path / "run.toml"), "--out", str(out)]) == 0
        recorded.append(json.loads((out / "summary.json").read_text(encoding="utf-8"))["provenance"])
    assert recorded[0] == recorded[1]
    assert "a site" not in json.dumps(recorded)
