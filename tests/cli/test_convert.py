"""``fsl-explain convert``: one file with its manifest, or one sentence and no file."""

import json

import pytest
import torch
from live_npid import NCEAverage, save_npid
from references import official_layouts as layouts
from safetensors import safe_open
from torch import nn

from fsl_explain import Encoder
from fsl_explain.backbones.named import build_named
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.cli.app import run


@pytest.fixture
def official(tmp_path):
    """A checkpoint of A Closer Look."""
    state = build_named("conv4net", None, seed=3).network.state_dict()
    torch.save(layouts.closer_look_conv4(state), tmp_path / "best_model.tar")
    return tmp_path / "best_model.tar"


def convert(checkpoint, out, *more, encoder="conv4net"):
    arguments = ["convert", checkpoint, "--encoder", encoder, "--out", out, *more]
    return run([str(argument) for argument in arguments])


def complaint(capsys, *arguments, **options):
    assert convert(*arguments, **options) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("fsl-explain: ") for line in lines] == [True]
    return lines[0]


def test_the_report_is_printed_and_the_manifest_says_where_the_weights_come_from(capsys, tmp_path, official):
    out = tmp_path / "made" / "conv4.safetensors"
    assert convert(official, out) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "best_model.tar, closer-look-conv4, as conv4net" in printed
    assert "loaded │ 28 │ feature.trunk.0.C.weight" in printed
    assert "dropped: duplicate │ 28 │ feature.trunk.0.trunk.0.weight" in printed
    assert "dropped: classifier or comparison head │ 1 │ classifier.weight" in printed
    assert "beside the weights │ 1 │ epoch" in printed
    with safe_open(out, framework="pt") as file:
        manifest = json.loads(file.metadata()["fsl_explain"])
        assert len(list(file.keys())) == 28
    assert {key: manifest[key] for key in ("network", "release", "source", "sha256", "beside", "settings")} == {
        "network": "conv4net",
        "release": "closer-look-conv4",
        "source": "best_model.tar",
        "sha256": sha256_of(official),
        "beside": ["epoch"],
        "settings": {"negative_slope": 0.0},
    }
    assert manifest["dropped"]["feature.trunk.2.trunk.1.bias"] == "duplicate of feature.trunk.2.BN.bias"
    assert set(manifest["versions"]) == {"fsl-explain", "torch", "safetensors"}
    assert [path.name for path in out.parent.iterdir()] == ["conv4.safetensors"]
    images = torch.rand(1, 3, 84, 84)
    maps = [Encoder.named("conv4net", checkpoint=path)(images).maps for path in (official, out)]
    assert torch.equal(*maps)


def test_a_checkpoint_with_a_live_object_is_converted_and_nothing_of_it_runs(capsys, tmp_path, monkeypatch):
    built = build_named("npid-resnet18", None)
    ours = built.network.state_dict() | {f"head.{name}": value for name, value in built.head.state_dict().items()}
    memory = nn.functional.normalize(torch.randn(9, 128))
    save_npid(tmp_path / "npid.pth.tar", memory, layouts.npid(ours)["state_dict"])
    monkeypatch.setattr(NCEAverage, "marker", str(tmp_path / "was-here"))
    assert convert(tmp_path / "npid.pth.tar", tmp_path / "npid.safetensors", encoder="npid-resnet18") == 0
    assert "epoch, arch, lemniscate, best_prec1, optimizer" in capsys.readouterr().out
    assert not (tmp_path / "was-here").exists()
    encoder = Encoder.named("npid-resnet18", checkpoint=tmp_path / "npid.safetensors")
    assert torch.equal(encoder.head.state_dict()["0.weight"], ours["head.0.weight"])


def test_mistakes_are_one_sentence_and_leave_no_file(capsys, tmp_path, official):
    out = tmp_path / "out.safetensors"
    assert "ends in .safetensors, but got" in complaint(capsys, official, tmp_path / "out.pth")
    assert "nowhere.tar does not exist" in complaint(capsys, tmp_path / "nowhere.tar", out)
    assert "did you mean 'conv4net'" in complaint(capsys, official, out, encoder="conv4nett")
    assert "is one of closer-look-conv4, which is for conv4net" in complaint(capsys, official, out, encoder="resnet12")
    assert "did you mean 'frn-conv4'" in complaint(capsys, official, out, "--release", "frn-conv")
    assert "frn-conv4 keeps it" in complaint(capsys, official, out, "--release", "frn-conv4")
    whole = official.read_bytes()
    official.write_bytes(whole[: len(whole) // 2])
    assert "best_model.tar cannot be read" in complaint(capsys, official, out)
    assert [path.name for path in tmp_path.iterdir()] == ["best_model.tar"]


def test_a_converted_file_keeps_to_its_network_and_is_not_written_over_itself(capsys, tmp_path, official):
    out = tmp_path / "out.safetensors"
    convert(official, out)
    capsys.readouterr()
    assert "another file than the checkpoint itself" in complaint(capsys, out, out)
    assert "was converted for conv4net; choose" in complaint(capsys, out, tmp_path / "x.safetensors", encoder="conv64f")
    with safe_open(out, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    from safetensors.torch import save_file

    save_file(tensors, out, metadata={"fsl_explain": "{"})
    assert "manifest of a converted checkpoint in" in complaint(capsys, out, tmp_path / "x.safetensors")


def test_a_conversion_that_breaks_off_leaves_what_was_there(tmp_path, official, monkeypatch):
    out = tmp_path / "out.safetensors"
    out.write_text("before")

    def broken(*_, **__):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr("fsl_explain.backbones.conversion.save_file", broken)
    assert convert(official, out) == 2
    assert out.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_model.tar", "out.safetensors"]
