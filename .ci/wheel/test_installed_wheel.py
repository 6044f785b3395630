"""The wheel alone, in a fresh environment without extras and outside the checkout, does the main jobs."""

import json
import subprocess
import urllib.request
from contextlib import contextmanager

import pytest
from conftest import ROOT, SURROUNDINGS
from PIL import Image

COLORS = {"green": (0, 160, 60), "red": (200, 30, 30), "violet": (130, 40, 200)}
ENCODER = ("--encoder", "conv4net")
WHERE = (
    "import episodes, fsl_explain, retrieval_explain as r; print(episodes.__file__, fsl_explain.__file__, r.__file__)"
)


@pytest.fixture(scope="session")
def images(installed):
    """Three classes of three images in one color each."""
    for name, (red, green, blue) in COLORS.items():
        (installed.work / "images" / name).mkdir(parents=True)
        for shade in range(3):
            color = (red - 5 * shade, green + 5 * shade, blue)
            Image.new("RGB", (40, 40), color).save(installed.work / "images" / name / f"{shade}.png")
    return installed.work / "images"


@pytest.fixture(scope="session")
def weights(installed):
    """The weights that come with the wheel."""
    where = "from importlib.resources import files; print(files('fsl_explain') / 'demo')"
    return f"{installed.run('python', '-c', where).strip()}/conv4net-digit-scenes.safetensors"


@pytest.fixture(scope="session")
def bank(installed, images, weights):
    made = installed.work / "colors.bank"
    installed.run("retrieval-explain", "build", images, "--bank", made, *ENCODER, "--checkpoint", weights)
    return made


@contextmanager
def answering(installed, name, *arguments):
    """Serve while the block runs; gives the address that the process says."""
    command = [str(installed.command(name)), "serve", *map(str, arguments), "--port", "0"]
    server = subprocess.Popen(command, env=SURROUNDINGS, cwd=installed.work, stdout=subprocess.PIPE, text=True)
    try:
        said = server.stdout.readline().split()
        assert said[:1] == ["Workbench:"], said
        yield said[1].rstrip("/")
    finally:
        server.terminate()
        rest, _ = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "Stopped." in rest


def fetched(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read()


def test_the_packages_are_those_of_the_environment(installed):
    places = installed.run("python", "-c", WHERE).split()
    assert len(places) == 3
    assert all(str(installed.folder) in place and str(ROOT) not in place for place in places)


@pytest.mark.parametrize("name", ["fsl-explain", "retrieval-explain"])
def test_the_commands_say_the_version_of_the_archive(installed, name):
    assert f"-{installed.run(name, '--version').strip()}-" in installed.wheel.name


def test_the_demo_writes_its_pages(installed):
    printed = installed.run("fsl-explain", "demo", "--limit", "2", "--out", "demo")
    assert "trained encoder" in printed
    for page in ("demo/index.html", "demo/transformer/index.html"):
        written = (installed.work / page).read_text(encoding="utf-8")
        assert "<table" in written
        assert "data:image/" in written


def test_one_image_is_explained(installed, images, weights):
    given = ("--support", images, *ENCODER, "--checkpoint", weights, "--out", "why.html")
    assert "violet" in installed.run("fsl-explain", "explain", images / "violet" / "0.png", *given)
    assert "violet" in (installed.work / "why.html").read_text(encoding="utf-8")


def test_a_bank_is_searched_and_inspected(installed, images, weights, bank):
    given = ("--bank", bank, *ENCODER, "--checkpoint", weights)
    installed.run("retrieval-explain", "search", images / "red" / "0.png", *given, "-k", "3", "--out", "found.json")
    found = json.loads((installed.work / "found.json").read_text(encoding="utf-8"))
    assert "red" in json.dumps(found)
    installed.run("retrieval-explain", "inspect", images / "red" / "0.png", *given, "--out", "neighbors.html")
    assert "red" in (installed.work / "neighbors.html").read_text(encoding="utf-8")


def test_without_its_extra_serve_says_in_one_sentence_what_to_install(installed, bank):
    said = installed.run("retrieval-explain", "serve", "--bank", bank, *ENCODER, code=2)
    assert said.endswith("run: pip install 'fsl-explain[serve]'.\n")
    assert said.count("\n") == 1


def test_both_servers_answer_with_their_extra(installed, bank, images, weights):
    installed.install("serve")
    given = (*ENCODER, "--checkpoint", weights)
    with answering(installed, "retrieval-explain", "--bank", bank, *given) as address:
        assert json.loads(fetched(f"{address}/api/session"))["banks"][0]["images"] == 9
        assert b"<html" in fetched(address)
    with answering(installed, "fsl-explain", "--support", images, *given) as address:
        assert len(json.loads(fetched(f"{address}/api/session"))["episode"]["classes"]) == 3
