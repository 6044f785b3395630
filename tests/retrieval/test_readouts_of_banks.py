"""Every readout of a token network through the commands of a bank: built, searched, inspected; another is refused."""

import pytest

from episodes import DigitScenes
from retrieval_explain.cli.app import run

READOUTS = ("class", "class-direct", "class-last", "mean", "class+mean")
EMBEDS = {"class-direct": "class", "class-last": "class"}  # the embedding that a readout splits


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root, scenes = tmp_path_factory.mktemp("photographs"), DigitScenes("novel", per_class=1)
    for number in range(3):
        (root / scenes.classes[number]).mkdir()
        scenes[number].image.save(root / scenes.classes[number] / f"{number}.png")
    return root


@pytest.mark.parametrize("readout", READOUTS)
def test_a_bank_of_each_readout(photographs, tmp_path, capsys, readout):
    bank, query = str(tmp_path / "bank"), str(next(photographs.rglob("*.png")))
    by = ("--bank", bank, "--encoder", "demo-vit")
    assert run(["build", str(photographs), *by, "--readout", readout]) == 0
    inspected = ["inspect", query, *by, "--readout", readout, "--out", str(tmp_path / "page.html")]
    assert run(inspected) == 0
    assert "residual" in capsys.readouterr().out
    for other in READOUTS:
        code = run(["search", query, *by, "--readout", other, "-k", "2"])
        same = EMBEDS.get(other, other) == EMBEDS.get(readout, readout)
        said = capsys.readouterr().err
        assert code == (0 if same else 2), (other, said)
        assert same or said.count("pooling ") == 2, said  # both, for the two are named alike otherwise
