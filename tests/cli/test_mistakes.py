"""Each mistake of a user ends with exit code 2 and one sentence that names what to change."""

import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from fsl_explain import Encoder
from fsl_explain.cli.app import run

CONFIG = """
[data]
kind = "digit-scenes"
per_class = 4
[episodes]
count = 1
n_query = 2
"""


def complaint(capsys, *arguments):
    assert run([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("fsl-explain: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


def picture(path, color=(200, 30, 30), mode="RGB", size=(40, 40), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).convert(mode).save(path, **options)
    return path


@pytest.fixture
def supports(tmp_path):
    for name, color in (("red", (200, 30, 30)), ("green", (30, 200, 30))):
        picture(tmp_path / "supports" / name / "one.png", color)
    return tmp_path / "supports"


@pytest.fixture
def query(tmp_path):
    return picture(tmp_path / "query.png")


def explain(query, supports, tmp_path, *more):
    return "explain", query, "--support", supports, "--encoder", "conv4net", "--out", tmp_path / "page.html", *more


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def bomb(path):
    """Write a PNG that claims 100,000 × 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_missing_query(capsys, supports, tmp_path):
    assert "nowhere.png" in complaint(capsys, *explain(tmp_path / "nowhere.png", supports, tmp_path))


def test_missing_support_folder(capsys, query, tmp_path):
    assert "nowhere" in complaint(capsys, *explain(query, tmp_path / "nowhere", tmp_path))


def test_empty_class_folder(capsys, query, supports, tmp_path):
    (supports / "blue").mkdir()
    assert "blue holds no" in complaint(capsys, *explain(query, supports, tmp_path))


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "bomb"])
def test_broken_image(capsys, query, supports, tmp_path, kind):
    path = supports / "red" / "broken.jpg"
    if kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:3000])
    elif kind == "bomb":
        path = bomb(supports / "red" / "broken.png")
    else:
        path.write_bytes(b"" if kind == "empty" else b"hello")
    assert path.name in complaint(capsys, *explain(query, supports, tmp_path))
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "RGBA", "LA", "1", "I;16"])
def test_odd_images_are_accepted(capsys, query, supports, tmp_path, mode):
    name = "odd.jpg" if mode == "CMYK" else "odd.png"
    if mode == "I;16":
        Image.fromarray(np.full((40, 40), 40_000, dtype=np.uint16)).save(supports / "red" / name)
    else:
        picture(supports / "red" / name, mode=mode)
    assert run([str(argument) for argument in explain(query, supports, tmp_path)]) == 0
    assert (tmp_path / "page.html").exists()


def test_rotated_image_is_turned_upright(supports, tmp_path):
    upright = Image.new("RGB", (40, 40), "white")
    upright.paste("black", (0, 0, 40, 20))
    exif = Image.Exif()
    exif[0x0112] = 3  # shown turned by half
    upright.rotate(180).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    from episodes import read_image

    top = np.asarray(read_image(tmp_path / "turned.jpg"))[5, 20]
    assert top.max() < 60


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--encoder", "conv4nett", "did you mean 'conv4net'"),
        ("--encoder", "torchvision:resnet5", "did you mean"),
        ("--readout", "clas", "did you mean 'class'"),
        ("--method", "exakt", "did you mean 'exact'"),
        ("--rule", "prototypes", "did you mean 'prototype'"),
        ("--similarity", "cosin", "did you mean 'cosine'"),
        ("--pooling", "gpa", "gap, gmp, lse"),
        ("--target", "rod", "did you mean 'red'"),
        ("--against", "gren", "did you mean 'green'"),
        ("--shots", "0", "--shots of at least 1"),
    ],
)
def test_unknown_names(capsys, query, supports, tmp_path, option, value, said):
    arguments = list(explain(query, supports, tmp_path))
    if option == "--encoder":
        arguments[arguments.index("--encoder") + 1] = value
    else:
        arguments += [option, value]
    assert said in complaint(capsys, *arguments)


def test_a_class_against_itself(capsys, query, supports, tmp_path):
    said = complaint(capsys, *explain(query, supports, tmp_path, "--target", "red", "--against", "red"))
    assert "red is both the target and in against" in said


def test_checkpoint_with_missing_keys(capsys, query, supports, tmp_path):
    state = Encoder.named("conv4net").network.state_dict()
    state.pop("blocks.block2.conv.weight")
    torch.save(state, tmp_path / "weights.pt")
    said = complaint(capsys, *explain(query, supports, tmp_path, "--checkpoint", tmp_path / "weights.pt"))
    assert "1 missing (blocks.block2.conv.weight)" in said


def test_checkpoint_with_nan(capsys, query, supports, tmp_path):
    state = Encoder.named("conv4net").network.state_dict()
    state["blocks.block3.conv.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, tmp_path / "weights.pt")
    said = complaint(capsys, *explain(query, supports, tmp_path, "--checkpoint", tmp_path / "weights.pt"))
    assert "blocks.block3.conv.weight" in said


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("plain", [True, False])
def test_checkpoint_that_wants_to_run_code(capsys, query, supports, tmp_path, plain):
    path = tmp_path / "weights.pt"
    if plain:
        path.write_bytes(pickle.dumps({"weight": Trap(tmp_path / "sprung")}))
    else:
        torch.save({"weight": Trap(tmp_path / "sprung")}, path)
    said = complaint(capsys, *explain(query, supports, tmp_path, "--checkpoint", path))
    assert "refused" in said
    assert not (tmp_path / "sprung").exists()


def test_evaluation_mistakes(capsys, config, tmp_path):
    assert "nope.toml does not exist" in complaint(capsys, "evaluate", "--config", tmp_path / "nope.toml")
    said = complaint(capsys, "evaluate", "--config", config, "--set", "episodes.n_shoot=5")
    assert "[episodes] unknown key 'n_shoot'; did you mean 'n_shot'" in said
    assert "greater than or equal to 2" in complaint(
        capsys, "evaluate", "--config", config, "--set", "episodes.n_way=1"
    )
    said = complaint(capsys, "evaluate", "--config", config, "--set", "episodes.n_shot=9")
    assert "every class needs 11 images" in said
    assert "--out with --resume" in complaint(capsys, "evaluate", "--config", config, "--resume")
    assert "--limit of at least 1" in complaint(capsys, "evaluate", "--config", config, "--limit", "0")
    (tmp_path / "file").write_text("x")
    assert "is a file" in complaint(capsys, "evaluate", "--config", config, "--out", tmp_path / "file")
    assert "is a file" in complaint(capsys, "evaluate", "--config", config, "--out", tmp_path / "file" / "in" / "it")
    assert "did you mean" in complaint(capsys, "evaluate", "--config", config, "--set", "explanation.methods=['exat']")


def test_box_outside_its_image(capsys, tmp_path):
    rows = ["file,class,xmin,ymin,xmax,ymax"]
    for name in ("a", "b"):
        for i in range(3):
            picture(tmp_path / "data" / "images" / f"{name}{i}.png")
            rows.append(f"{name}{i}.png,{name},5,5,{90 if (name, i) == ('b', 2) else 20},20")
    (tmp_path / "data" / "annotations.csv").write_text("\n".join(rows))
    config = tmp_path / "config.toml"
    config.write_text('[data]\nkind = "csv"\nroot = "data"\n[episodes]\ncount = 1\nn_way = 2\nn_query = 2\n')
    said = complaint(capsys, "evaluate", "--config", config)
    assert "b2.png" in said
    assert "40" in said


def test_a_page_that_cannot_be_written_is_refused_before_the_work(capsys, monkeypatch, query, supports, tmp_path):
    monkeypatch.setattr(Encoder, "named", lambda *_, **__: pytest.fail("the work began"))
    (tmp_path / "file").write_text("x")
    call = ("explain", query, "--support", supports, "--out")
    assert "expected a file to write, but" in complaint(capsys, *call, tmp_path)
    assert "is a file; choose another --out" in complaint(capsys, *call, tmp_path / "file" / "page.html")
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "is read-only; choose another --out" in complaint(capsys, *call, tmp_path / "page.html")


def test_help_shows_how_folders_lie(capsys):
    run(["explain", "--help"])
    assert "DIR/CLASS/IMAGE" in capsys.readouterr().out


def test_unknown_command_and_option(capsys):
    assert 'Did you mean "explain"' in complaint(capsys, "explian")
    assert "--bogus" in complaint(capsys, "demo", "--bogus", "1")
