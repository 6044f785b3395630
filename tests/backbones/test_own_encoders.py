"""An encoder by the name of a function of one's own, in Python, in configs and in both command lines."""

import os

import pytest
import torch
from torchvision.utils import save_image

from fsl_explain import Encoder
from fsl_explain.cli import app as explaining
from fsl_explain.config import EncoderConfig
from retrieval_explain import MemoryBank
from retrieval_explain.cli import app as retrieving

CODE = """
import torch
from torch import nn
from fsl_explain import Encoder
from episodes import direct_resize

print("the code runs")


def make(channels=4, tail="ignore"):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, channels, 4, 4), nn.ReLU())
    return Encoder(network, preprocess=direct_resize(16, [0.5] * 3, [0.5] * 3))


def network():
    return nn.Conv2d(3, 4, 4)


def broken():
    return make().nothing


def wants(something):
    return make()


NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a module and colored images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_encoder_of_a_test.py").write_text(CODE)
    (tmp_path / "wrong_module_of_a_test.py").write_text("import nothing_at_all_of_a_test\n")
    for name in ("red", "green"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            save_image(torch.rand(3, 20, 20), tmp_path / "images" / name / f"{number}.png")
    return tmp_path


OWN = "own_encoder_of_a_test:make"
NAMES = (OWN, "own_encoder_of_a_test.py:make", "{folder}/own_encoder_of_a_test.py:make")


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_found_by_module_and_by_file(folder, name):
    found = Encoder.named(name.format(folder=folder), channels=5)
    assert found(torch.zeros(1, 3, 16, 16)).embedding.shape == (1, 5)
    assert found.description.endswith(":make (Sequential)")
    config = EncoderConfig(name=name.format(folder=folder), architecture={"channels": 6})
    assert Encoder.from_config(config)(torch.zeros(1, 3, 16, 16)).embedding.shape == (1, 6)


REFUSED = {
    "own_encoder_of_a_test:maek": (
        LookupError,
        r"unknown function of own_\w+ 'maek'; did you mean 'make'",
    ),
    "own_encoder_of_a_test:NUMBER": (TypeError, "expected a function as .*, but got int; name one"),
    "own_encoder_of_a_test:network": (TypeError, "to return an Encoder, but got Conv2d; return Encoder.wrap"),
    "own_encoder_of_a_test:broken": (ValueError, "its code failed with AttributeError: .*nothing"),
    "own_encoder_of_a_test:wants": (LookupError, "expected options that .*:wants takes, but got none .*something"),
    "no_module_of_a_test:make": (FileNotFoundError, "expected a Python module no_module_of_a_test .* there is none in"),
    "no_file_of_a_test.py:make": (FileNotFoundError, "no_file_of_a_test.py does not exist"),
    "wrong_module_of_a_test:make": (ValueError, "its code failed with ModuleNotFoundError: .*nothing_at_all"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_encoder_is_one_sentence(folder, name):
    kind, sentence = REFUSED[name]
    with pytest.raises(kind, match=sentence):
        Encoder.named(name)


def test_options_that_the_function_does_not_take_are_refused(folder):
    with pytest.raises(LookupError, match=r"expected options that .*:make takes, but got checkpoint .*unexpected"):
        Encoder.named(OWN, checkpoint=folder / "weights.pt")
    with pytest.raises(LookupError, match=r"but got depth"):
        Encoder.named(OWN, depth=3)


def test_both_command_lines_take_it_and_open_its_banks(folder, capsys):
    assert retrieving.run(["build", "images", "--bank", "bank", "--encoder", OWN]) == 0
    assert retrieving.run(["search", "images/red/0.png", "--bank", "bank", "--encoder", OWN, "-k", "2"]) == 0
    MemoryBank.load(folder / "bank").expect_encoder(Encoder.named(OWN))
    (folder / "own_encoder_of_a_test.py").write_text(CODE.replace("manual_seed(0)", "manual_seed(1)"))
    other = ["search", "images/red/0.png", "--bank", "bank", "--encoder", "own_encoder_of_a_test.py:make", "-k", "2"]
    capsys.readouterr()
    assert retrieving.run(other) == 2
    assert "was built with encoder" in capsys.readouterr().err
    query = ["explain", "images/red/0.png", "--support", "images", "--encoder", OWN, "--out", "out.html"]
    assert explaining.run(query) == 0
    assert explaining.run([*query[:-4], "--encoder", "no_module_of_a_test:make", "--out", "out.html"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("fsl-explain: expected a Python module no_module_of_a_test")


def test_a_file_that_is_saved_twice_within_a_second_is_the_new_one(folder):
    path, images = folder / "own_encoder_of_a_test.py", torch.ones(1, 3, 16, 16)
    one = Encoder.named("own_encoder_of_a_test.py:make")(images).embedding
    before = path.stat()
    path.write_text(CODE.replace("manual_seed(0)", "manual_seed(1)"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not torch.equal(Encoder.named("own_encoder_of_a_test.py:make")(images).embedding, one)


def test_a_module_may_import_its_neighbor_and_the_one_of_this_folder_counts(folder, monkeypatch):
    (folder / "neighbor_of_a_test.py").write_text("CHANNELS = 7\n")
    late = "def late():\n    from neighbor_of_a_test import CHANNELS\n    return make(CHANNELS)\n"
    (folder / "other").mkdir()
    for place in (folder, folder / "other"):
        (place / "own_encoder_of_a_test.py").write_text(CODE + late)
        late = "def late():\n    return make(8)\n"
    assert Encoder.named("own_encoder_of_a_test:late")(torch.zeros(1, 3, 16, 16)).embedding.shape == (1, 7)
    monkeypatch.chdir(folder / "other")
    assert Encoder.named("own_encoder_of_a_test:late")(torch.zeros(1, 3, 16, 16)).embedding.shape == (1, 8)


def test_convert_and_unwritten_forms_are_refused(folder):
    for name in ("own encoder:make", "module:", ":make", "conv4nte"):
        with pytest.raises(LookupError, match="unknown encoder"):
            Encoder.named(name)
