"""``retrieval-explain build``, ``search`` and ``inspect`` from the outside: what they print, write and refuse."""

import json

import numpy as np
import pytest
import torch
from torchvision.utils import save_image

from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run

COLORS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.9, 0.1), "blue": (0.1, 0.1, 0.9)}
NETWORK = ("--encoder", "conv4net")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("colors")
    generator = torch.Generator().manual_seed(0)
    for name, color in COLORS.items():
        (root / name).mkdir()
        for number in range(3):
            noise = 0.2 * torch.rand(3, 84, 84, generator=generator)
            save_image(torch.tensor(color)[:, None, None] * 0.8 + noise, root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def bank(folder, tmp_path_factory):
    directory = tmp_path_factory.mktemp("banks") / "bank"
    assert run(["build", str(folder), "--bank", str(directory), *NETWORK]) == 0
    return directory


def refusal(capsys, *arguments):
    assert run([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    said = [line for line in printed.err.splitlines() if line.startswith("retrieval-explain: ")]
    assert len(said) == 1
    return said[0]


def test_build_says_what_it_made_and_keeps_classes_and_paths(folder, tmp_path, capsys):
    assert run(["build", str(folder), "--bank", str(tmp_path / "bank"), "--dtype", "float16", *NETWORK]) == 0
    assert "9 images of 3 classes, 64 channels" in capsys.readouterr().out
    made = MemoryBank.load(tmp_path / "bank")
    assert made.classes == ("blue", "green", "red")
    assert made.paths[0] == str(folder.resolve() / "blue" / "0.png")


def test_build_takes_folders_without_classes_and_appends(folder, tmp_path, capsys):
    where = ("--bank", str(tmp_path / "bank"), *NETWORK)
    assert run(["build", str(folder / "red"), *where]) == 0
    assert "3 images of 0 classes" in capsys.readouterr().out
    assert run(["build", str(folder), "--unlabeled", "--append", *where]) == 0
    printed = capsys.readouterr()
    assert "9 images of 0 classes" in printed.out
    assert "6 images added, 3 images left out, because the bank has them." in printed.err
    other = ("build", folder, "--append", "--bank", tmp_path / "bank", *NETWORK, "--pooling", "gmp")
    assert "was built with encoder" in refusal(capsys, *other)
    assert "expected --append or --resume, but got both" in refusal(
        capsys, "build", folder, "--append", "--resume", "--bank", tmp_path / "bank"
    )


def test_search_lists_neighbors_and_writes_them(folder, bank, tmp_path, capsys):
    query, out = folder / "red" / "1.png", tmp_path / "found" / "neighbors.json"
    assert run(["search", str(query), "--bank", str(bank), "-k", "2", "--out", str(out), *NETWORK]) == 0
    assert "red" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))["neighbors"]
    assert found[0]["path"] == str(query.resolve())
    assert found[0]["similarity"] == pytest.approx(1)
    assert [neighbor["rank"] for neighbor in found] == [1, 2]
    options = ("-k", "2", "--leave-self-out", "--class", "red", "--class", "blue", "--out", str(out))
    assert run(["search", str(query), "--bank", str(bank), *options, *NETWORK]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["neighbors"]
    assert [neighbor["class"] for neighbor in found] == ["red", "red"]
    assert run(["search", str(query), "--bank", str(bank), "-k", "2", "--id", "0", "--id", "5", *NETWORK]) == 0
    listed = capsys.readouterr().out
    assert "blue" in listed
    assert "green" in listed


def test_search_for_a_region(folder, bank, tmp_path, capsys):
    both = torch.cat([torch.ones(3, 84, 84) * torch.tensor(COLORS[name])[:, None, None] for name in COLORS], dim=2)
    save_image(both, tmp_path / "both.png")
    boxes = (
        ("0", "0", "84", "84"),
        ("84", "0", "84", "84", "--box-format", "xywh"),
        (str(5 / 6), "0.5", str(1 / 3), "1", "--box-format", "relative-cxcywh"),
    )
    for left, name, numbers in zip((0, 84, 168), COLORS, boxes, strict=True):
        box = ("--box", *numbers)
        out = ("--out", str(tmp_path / "found.json"))
        assert run(["search", str(tmp_path / "both.png"), "--bank", str(bank), "-k", "1", *box, *out, *NETWORK]) == 0
        written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
        assert written["box"] == [left, 0, left + 84, 84]
        (found,) = written["neighbors"]
        assert found["class"] == name
    assert "region 168 0 252 84" in capsys.readouterr().out
    outside = ("--box", "0", "0", "300", "84")
    assert "inside the image of 252×84 pixels" in refusal(
        capsys, "search", tmp_path / "both.png", "--bank", bank, *outside, *NETWORK
    )


def test_inspect_prints_the_vote_and_writes_the_page(folder, bank, tmp_path, capsys):
    query = folder / "green" / "0.png"
    options = ("--leave-self-out", "-k", "6", "--temperature", "0.1", "--explained", "2", "--out", tmp_path / "p.html")
    assert run(["inspect", str(query), "--bank", str(bank), *map(str, options), *NETWORK]) == 0
    printed = capsys.readouterr().out
    for words in ("Decided: green", "how many voted", "residual", "p.html"):
        assert words in printed
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    for words in ("Why did these come back for 0.png?", "temperature 0.1", "6 neighbors", "Why #1 rather than #2"):
        assert words in page


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--rule", "prototype"), "expected a vote of the neighbors, knn-vote or majority-vote, but got prototype"),
        (("-k", "10"), "asked for 10 neighbors, but there are 9 embeddings"),
        (("--class", "purple"), "unknown class 'purple'"),
        (("--id", "77"), "77"),
        (("--encoder", "conv4net", "--pooling", "gmp"), "conv4net"),
        (("--explained", "0"), "expected at least one neighbor to show, but got 0"),
        (("--index", "tree"), "unknown index 'tree'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_inspect_refuses_in_one_sentence(folder, bank, capsys, options, sentence):
    network = () if "--encoder" in options else NETWORK
    assert sentence in refusal(capsys, "inspect", folder / "red" / "0.png", "--bank", bank, *options, *network)


def test_a_missing_bank_and_a_missing_query_are_one_sentence(folder, bank, tmp_path, capsys):
    assert "expected a memory bank" in refusal(capsys, "search", folder / "red" / "0.png", "--bank", tmp_path, *NETWORK)
    assert "gone.png" in refusal(capsys, "search", tmp_path / "gone.png", "--bank", bank, *NETWORK)


def test_a_bank_of_numbers_is_filtered_by_numbers(folder, tmp_path, capsys):
    encoded = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    MemoryBank.from_embeddings(encoded, labels=[3, 3, 7, 7]).save(tmp_path / "bank")
    where = ("search", folder / "red" / "0.png", "--bank", tmp_path / "bank", "-k", "2", *NETWORK)
    assert run([*map(str, where), "--class", "7"]) == 0
    assert "–" in capsys.readouterr().out
    assert "because the bank's labels are numbers, but got 'seven'" in refusal(capsys, *where, "--class", "seven")


def test_import_takes_an_array_and_the_list_of_its_images(tmp_path, capsys):
    np.save(tmp_path / "memory.npy", np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32))
    (tmp_path / "images.txt").write_text("oak/1.png\noak/2.png\nelm/1.png\n", encoding="utf-8")
    where = ("--bank", str(tmp_path / "bank"), "--images", str(tmp_path / "images.txt"))
    assert run(["import", str(tmp_path / "memory.npy"), *where]) == 0
    assert "3 embeddings of 2 classes, 8 channels" in capsys.readouterr().out
    made = MemoryBank.load(tmp_path / "bank")
    assert [made.classes[label] for label in made.labels.tolist()] == ["oak", "oak", "elm"]
    assert "expected" in refusal(capsys, "import", tmp_path / "gone.npy", "--bank", tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-k", "5"), "-k is of an index, but none is made; give --index or drop it"),
        (("--recall", "0.9"), "--recall is of an index, but none is made"),
        (("--index", "ivf", "--recall", "1.5"), "expected a --recall from 0 to 1, but got 1.5"),
        (("--index", "ivf-pq"), "expected at least 256 images for an index ivf-pq"),
    ],
)
def test_build_refuses_what_no_index_has_before_it_embeds(folder, tmp_path, capsys, options, sentence):
    assert sentence in refusal(capsys, "build", folder, "--bank", tmp_path / "bank", *options, *NETWORK)
    assert not (tmp_path / "bank").exists()
