"""``local-features`` and ``search --rerank`` from the outside."""

import json
import re
import shlex
import shutil

import pytest
import torch
from torchvision.utils import save_image

from fsl_explain import Encoder
from retrieval_explain import MemoryBank, reranked
from retrieval_explain.cli.app import run

NETWORK = ("--encoder", "conv4net")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    generator = torch.Generator().manual_seed(0)
    for number in range(5):
        folder = root / "images" / f"{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        save_image(torch.rand(3, 84, 84, generator=generator), folder / f"{number}.png")
    assert run(["build", str(root / "images"), "--bank", str(root / "bank"), *NETWORK]) == 0
    return root / "bank"


def refusal(capsys, *arguments):
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err


def test_neighbors_are_listed_in_the_order_of_the_rule(bank, tmp_path, capsys):
    query = bank.parent / "images" / "0" / "2.png"
    asked = ("search", query, "--bank", bank, "-k", "3", "--rerank", "max-sim", *NETWORK)
    said = refusal(capsys, *asked)
    command = shlex.split(said.split("make them: ")[1])
    assert command == ["retrieval-explain", "local-features", "--bank", str(bank), *NETWORK]
    assert "make them: retrieval-explain local-features" in refusal(capsys, "inspect", *asked[1:4], *asked[6:])
    assert run([*command[1:], "--dtype", "float16"]) == 0
    assert "5 images of 5×5 cells, 64 channels, float16, 0.0 MB" in capsys.readouterr().out
    out = tmp_path / "neighbors.json"
    more = ("--first", "4", "--leave-self-out", "--out", out)
    assert run([str(one) for one in (*asked, *more)]) == 0
    printed = capsys.readouterr().out
    assert "by max-sim" in printed
    assert "first rank" in printed
    record = json.loads(out.read_text(encoding="utf-8"))
    encoder, opened = Encoder.named("conv4net"), MemoryBank.load(bank)
    own = torch.tensor([list(opened.paths).index(str(query.resolve()))])
    found = reranked(encoder, encoder.preprocess([query])[0], opened, first=4, k=3, without=own)
    assert record["rerank"] == "max-sim"
    assert [one["id"] for one in record["neighbors"]] == found.indices.tolist()
    assert [one["score"] for one in record["neighbors"]] == found.scores.tolist()
    assert [one["first rank"] for one in record["neighbors"]] == found.first_ranks.tolist()
    assert [one["rank"] for one in record["neighbors"]] == [1, 2, 3]


def test_a_page_says_why_the_first_came_before_the_second(bank, tmp_path, capsys):
    query, out = bank.parent / "images" / "0" / "2.png", tmp_path / "page.html"
    assert run(["local-features", "--bank", str(bank), *NETWORK]) == 0
    asked = ("inspect", query, "--bank", bank, "--rerank", "max-sim", "--out", out, "--leave-self-out", *NETWORK)
    assert run([str(one) for one in (*asked, "--explained", "2", "--gallery", "3")]) == 0
    assert "residual" in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    assert "Why #1 rather than #2: a lead of" in page
    assert "By the similarity of the embeddings" in page
    assert page.count("unsound") <= page.count("unsound {") + page.count(".unsound")  # in the style alone
    assert str(bank.parent) not in page
    assert "--expected does not go with --rerank" in refusal(capsys, *asked, "--expected", "id:1")
    assert "--detail does not go with --rerank" in refusal(capsys, *asked, "--detail", "1")


@pytest.mark.parametrize("again", [(), ("--rerank", "max-sim")], ids=["plain", "reranked"])
def test_a_query_is_embedded_once_though_its_own_file_is_left_out(bank, monkeypatch, capsys, again):
    assert run(["local-features", "--bank", str(bank), *NETWORK]) == 0
    seen, embed = [], Encoder.__call__

    def counted(encoder, images):
        seen.append(len(images))
        return embed(encoder, images)

    monkeypatch.setattr(Encoder, "__call__", counted)
    query = bank.parent / "images" / "0" / "2.png"
    assert run(["search", str(query), "--bank", str(bank), "-k", "3", "--leave-self-out", *again, *NETWORK]) == 0
    assert "2.png" not in capsys.readouterr().out.split("Most similar to 2.png")[1]
    assert seen == [1]


def test_an_image_that_is_gone_is_said(bank, tmp_path, capsys):
    copied = tmp_path / "images"
    shutil.copytree(bank.parent / "images", copied)
    for command in (["build", str(copied)], ["local-features"]):
        assert run([*command, "--bank", str(tmp_path / "bank"), *NETWORK]) == 0
    query = copied / "0" / "2.png"
    (copied / "0" / "4.png").unlink()
    asked = ["inspect", str(query), "--bank", str(tmp_path / "bank"), "--rerank", "max-sim", "--leave-self-out"]
    capsys.readouterr()
    assert run([*asked, "--out", str(tmp_path / "page.html"), *NETWORK]) == 0
    assert ": no maps, because" in capsys.readouterr().out


@pytest.mark.parametrize("place", [0, 1, 3], ids=["first", "second", "fourth"])
def test_an_image_that_has_changed_keeps_its_place_and_is_said(bank, tmp_path, capsys, place):
    copied = tmp_path / "images"
    shutil.copytree(bank.parent / "images", copied)
    for command in (["build", str(copied)], ["local-features"]):
        assert run([*command, "--bank", str(tmp_path / "bank"), *NETWORK]) == 0
    query, page = copied / "0" / "2.png", tmp_path / "page.html"
    asked = ["inspect", str(query), "--bank", str(tmp_path / "bank"), "--rerank", "max-sim", "--leave-self-out"]
    asked += ["--out", str(page), *NETWORK]
    capsys.readouterr()
    assert run(asked) == 0
    order = re.findall(r"/(\d\.png)", capsys.readouterr().out)
    image = next(path for path in copied.rglob("*.png") if path.name == order[place])
    save_image(torch.zeros(3, 84, 84), image)
    assert run(asked) == 0
    after = " ".join(capsys.readouterr().out.split())
    assert re.findall(r"/(\d\.png)", after) == order
    assert f"#{place + 1}: no maps, because {image.name} has changed: it scores" in after
    assert after.count("no maps") == 1
    written = page.read_text(encoding="utf-8")
    assert f"{image.name} has changed: it scores" in written
    assert written.count("By the similarity of the embeddings") == len(order) - 1
    assert ("Why #1 rather than #2: a lead of" in written) == (place > 1)
    assert str(tmp_path) not in written


def test_several_banks_have_no_local_features(bank, capsys):
    query, other = bank.parent / "images" / "0" / "2.png", bank.parent / "copy"
    shutil.copytree(bank, other)
    asked = ("search", query, "--bank", bank, "--bank", other, "-k", "3", "--rerank", "max-sim", *NETWORK)
    assert "reads local features beside one bank in a folder" in refusal(capsys, *asked)


def test_options_that_do_not_fit_are_refused(bank, capsys):
    query = bank.parent / "images" / "0" / "2.png"
    asked = ("search", query, "--bank", bank, *NETWORK)
    assert "--first belongs to --rerank" in refusal(capsys, *asked, "--first", "20")
    assert "expected --first to be at least -k" in refusal(capsys, *asked, "--rerank", "max-sim", "--first", "5")
    assert "max-sim" in refusal(capsys, *asked, "--rerank", "max-sin")
    text = ("search", "--text", "a bird", "--bank", bank, "--rerank", "max-sim")
    assert "--rerank belongs to the search for an image" in refusal(capsys, *text)
