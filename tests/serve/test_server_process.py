"""Real server processes: what they print, refuse and keep, and that they end when they are told to."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from served_colors import write_colors

from fsl_explain import Encoder
from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run

BANKS = "from retrieval_explain.cli import main; main()"
EPISODES = "from fsl_explain.cli import main; main()"


@pytest.fixture
def bank(tmp_path):
    MemoryBank.build(Encoder.named("conv4net"), write_colors(tmp_path / "images"), directory=tmp_path / "bank")
    return tmp_path / "bank"


@pytest.fixture
def started():
    """Start servers on free ports; each gives its process and the address that it says. None outlives the test."""
    processes = []

    def start(code, *arguments):
        command = [sys.executable, "-c", code, "serve", "--encoder", "conv4net", "--port", "0", *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        line = processes[-1].stdout.readline()
        assert line.startswith("Workbench: http://"), line
        return processes[-1], line.split()[1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def get(address, path):
    with urllib.request.urlopen(address.rstrip("/") + path, timeout=60) as answer:
        return json.load(answer)


def ended(process, sign):
    process.send_signal(sign)
    process.wait(timeout=20)
    return process.returncode


def test_a_bank_is_served_until_it_is_interrupted(bank, started, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process, address = started(BANKS, "--bank", bank)
    assert get(address, "/api/session")["banks"][0]["images"] == 9
    assert len(get(address, "/api/banks/0/search?query=image:0:1&k=3")["neighbors"]) == 3
    image = next((bank.parent / "images").glob("*/*.png")).read_bytes()
    with urllib.request.urlopen(urllib.request.Request(address + "api/uploads", image), timeout=60):
        assert [*tmp_path.glob("workbench-*/*.png")]
    assert ended(process, signal.SIGINT) == 0
    assert "Stopped." in process.stdout.read()
    assert not [*tmp_path.glob("workbench-*")]  # what was given goes with the server


def test_episodes_are_served(tmp_path, started):
    process, address = started(EPISODES, "--support", write_colors(tmp_path / "supports"))
    assert len(get(address, "/api/session")["episode"]["classes"]) == 3
    assert ended(process, signal.SIGTERM) == 0


def test_corrections_are_a_new_version_that_a_killed_server_leaves_whole(bank, started):
    process, address = started(BANKS, "--bank", bank)
    version = get(address, "/api/session")["banks"][0]["version"]
    body = {"version": version, "changes": [{"id": 0, "label": "violet"}, {"id": 8, "label": "blue"}]}
    written = post(address, "/api/banks/0/labels", body)
    assert written["changed"] == 2
    assert written["version"] != version
    assert post(address, "/api/banks/0/labels", body, 409)["error"].startswith("The bank has changed")
    process.kill()
    process.wait()
    found = MemoryBank.load(bank)
    assert [found.classes[label] for label in found.labels[[0, 8]].tolist()] == ["violet", "blue"]
    assert len(found) == 9
    _, address = started(BANKS, "--bank", bank)
    assert get(address, "/api/session")["banks"][0]["version"] == written["version"]


def test_a_bank_that_another_process_changed_is_not_overwritten(bank, started):
    process, address = started(BANKS, "--bank", bank)
    version = get(address, "/api/session")["banks"][0]["version"]
    MemoryBank.load(bank).update([3], labels=["violet"])
    body = {"version": version, "changes": [{"id": 0, "label": "black"}]}
    assert "has changed" in post(address, "/api/banks/0/labels", body, 409)["error"]
    now = get(address, "/api/session")["banks"][0]["version"]
    assert post(address, "/api/banks/0/labels", {**body, "version": now})["changed"] == 1
    found = MemoryBank.load(bank)
    assert [found.classes[label] for label in found.labels[[0, 3]].tolist()] == ["black", "violet"]
    process.kill()
    process.wait()


def post(address, path, body, status=200):
    data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    answer = _asked(urllib.request.Request(address.rstrip("/") + path, data, kind))
    assert answer.status == status
    with answer:
        return json.load(answer)


def _asked(request):
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        return error


def test_links_to_uploads_last_where_a_folder_is_given(bank, tmp_path, started):
    process, address = started(BANKS, "--bank", bank, "--uploads", tmp_path / "kept")
    image = next((tmp_path / "images").glob("*/*.png")).read_bytes()
    request = urllib.request.Request(address + "api/uploads", image)
    with urllib.request.urlopen(request, timeout=60) as answer:
        query = json.load(answer)["query"]
    process.kill()
    process.wait()
    _, address = started(BANKS, "--bank", bank, "--uploads", tmp_path / "kept")
    assert get(address, f"/api/banks/0/search?query={query}&k=2")["neighbors"][0]["similarity"] > 0.999


def refusal(capsys, *arguments):
    assert run(["serve", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_what_cannot_be_served_is_one_sentence(bank, tmp_path, capsys):
    network = ("--bank", bank, "--encoder", "conv4net")
    assert "does not exist" in refusal(capsys, "--bank", tmp_path / "none")
    assert "was built with encoder" in refusal(capsys, *network, "--pooling", "gmp", "--port", "0")
    assert "expected a token" in refusal(capsys, *network, "--host", "0.0.0.0")
    assert "at least 16" in refusal(capsys, *network, "--token", "short")
    assert "expected a port" in refusal(capsys, *network, "--port", "99999")
    assert "expected --encoder once" in refusal(capsys, *network, "--bank", bank, "--bank", bank, *network[2:])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = refusal(capsys, *network, "--port", taken.getsockname()[1])
    assert "cannot be served on" in said


def test_without_the_extra_the_sentence_names_it(bank, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "fsl-explain[serve]" in refusal(capsys, "--bank", bank, "--encoder", "conv4net")
