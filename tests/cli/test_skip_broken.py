"""Broken images in the folders of a command: named together, or listed and skipped."""

import json
import os

import pytest
import torch
from torchvision.utils import save_image

import fsl_explain.cli.app
import retrieval_explain.cli.app
from retrieval_explain import MemoryBank


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "species"
    for number, name in enumerate(("red", "green")):
        (root / name).mkdir(parents=True)
        for shot in range(2):
            save_image(
                torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(9 * number + shot)),
                root / name / f"{shot}.png",
            )
        (root / name / "broken.png").write_bytes((root / name / "0.png").read_bytes()[:99])
    return root


def build(folder, *options):
    bank = ("--bank", str(folder.parent / "bank"))
    return retrieval_explain.cli.app.run(["build", str(folder), *bank, "--encoder", "conv4net", *options])


def explain(folder, *options, query=None):
    query = query or folder / "red" / "0.png"
    where = ("--support", str(folder), "--encoder", "conv4net", "--out", str(folder.parent / "page.html"))
    return fsl_explain.cli.app.run(["explain", str(query), *where, *options])


@pytest.mark.parametrize("command", [build, explain])
def test_all_broken_images_are_named_together(folder, capsys, command):
    assert command(folder) == 2
    said = capsys.readouterr().err
    assert "2 of 6 images cannot be read" in said
    assert said.count("broken.png") == 2


@pytest.mark.parametrize("command", [build, explain])
def test_broken_images_are_listed_and_skipped(folder, capsys, command):
    assert command(folder, "--skip-broken") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("Left out: the image") == 2
    if command is build:
        assert "Left out 2 of 6 images." in told
        assert [path.rpartition("species/")[2] for path in MemoryBank.load(folder.parent / "bank").paths] == [
            *("green/0.png", "green/1.png", "red/0.png", "red/1.png")
        ]


def test_a_class_that_is_broken_altogether_is_named(folder, capsys):
    for path in (folder / "red").iterdir():
        path.write_bytes(b"broken")
    assert explain(folder, "--skip-broken", query=folder / "green" / "0.png") == 2
    assert "no image of the class red" in " ".join(capsys.readouterr().err.split())


def test_a_pipe_as_the_query_does_not_hang(folder, capsys):
    os.mkfifo(folder.parent / "query.png")
    assert explain(folder, query=folder.parent / "query.png") == 2
    assert "query.png is a pipe; give one file" in " ".join(capsys.readouterr().err.split())


EVALUATIONS = {
    "evaluate": (fsl_explain.cli.app.run, "[episodes]\ncount = 1\nn_way = 2\nn_query = 1\n"),
    "compare": (fsl_explain.cli.app.run, '[maps]\nshots = 1\nsample = 1\nsteps = 1\nmethods = ["fam"]\n'),
    "retrieval": (
        retrieval_explain.cli.app.run,
        '[gallery]\nkind = "image-folder"\nroot = "species"\n[decision]\nk = 1\n[explanation]\nmethods = ["fam"]\n',
    ),
}


@pytest.fixture
def evaluated(folder):
    def run(command, *options):
        app, settings = EVALUATIONS[command]
        path = folder.parent / f"{command}.toml"
        data = '[data]\nkind = "image-folder"\nroot = "species"\n[encoder.architecture]\nchannels = 4\nsize = 32\n'
        path.write_text(data + settings)
        name = "evaluate" if command == "retrieval" else command
        return app([name, "--config", str(path), "--out", str(folder.parent / command), *options])

    return run


@pytest.mark.parametrize("command", EVALUATIONS)
def test_an_evaluation_leaves_them_out_and_says_so_beside_its_figures(folder, evaluated, capsys, command):
    assert evaluated(command) == 2
    assert "broken.png" in capsys.readouterr().err
    assert evaluated(command, "--skip-broken") == 0
    printed = capsys.readouterr()
    sections = ("data", "gallery") if command == "retrieval" else ("data",)
    assert " ".join(printed.err.split()).count("Left out: the image") == 2 * len(sections)
    summary = json.loads((folder.parent / command / "summary.json").read_text())
    assert summary["provenance"]["dataset"]["images"] == 4
    page = (folder.parent / command / "index.html").read_text()
    for section in sections:
        sentence = f"2 of the 6 images of [{section}] cannot be read and are left out."
        assert sentence in " ".join(printed.out.split())
        assert sentence in page
    if command != "retrieval":
        assert fsl_explain.cli.app.run(["table", str(folder.parent / command)]) == 0
        assert "left out" in capsys.readouterr().out


def test_nothing_is_said_where_none_is_broken(folder, evaluated, capsys):
    for name in ("red", "green"):
        (folder / name / "broken.png").unlink()
    assert evaluated("evaluate", "--skip-broken") == 0
    assert "cannot be read" not in capsys.readouterr().out
