"""The commands from end to end, on small data."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from fsl_explain.cli.app import run

SETTINGS = """
[data]
kind = "digit-scenes"
per_class = 6
[episodes]
count = 2
n_query = 2
[explanation]
methods = ["exact", "fam"]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SETTINGS)
    return path


def test_evaluate_writes_the_same_summary_twice(config, tmp_path, capsys):
    for name in ("one", "two"):
        assert run(["evaluate", "--config", str(config), "--out", str(tmp_path / name)]) == 0
    printed, said = capsys.readouterr()
    assert re.search(r"explaining examples .* ([1-9]\d*)/\1 ", said)
    for method in ("exact", "fam", "grad-cam", "lafam", "centered-gaussian", "random-blurred", "all-ones"):
        assert method in printed
    one, two = ((tmp_path / name / "summary.json").read_bytes() for name in ("one", "two"))
    assert one == two
    files = ["episodes.parquet", "index.html", "queries.parquet", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == files
    recorded = json.loads(one)["provenance"]
    assert recorded["config"]["episodes"]["seed"] == 0
    assert recorded["versions"]["torch"]


def test_an_interrupt_leaves_no_result_and_resume_completes_it(config, tmp_path):
    out = tmp_path / "out"
    # A shell starts background jobs with interrupts ignored, which they hand on.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from fsl_explain.cli import main; main()"
    command = [sys.executable, "-c", code, "evaluate", "--config", str(config)]
    command += ["--out", str(out), "--set", "episodes.count=2000"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 600
    while not list(out.glob("unfinished-*/episodes-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=600)
    assert running.returncode == 130, errors
    assert b"interrupted" in errors
    assert [path.name[:10] for path in out.iterdir()] == ["unfinished"]
    resumed = ["evaluate", "--config", str(config), "--out", str(out), "--resume", "--set", "episodes.count=25"]
    assert run(resumed) == 0
    assert json.loads((out / "summary.json").read_text())["episodes"] == 25
    assert not list(out.glob("unfinished-*"))


@pytest.mark.parametrize("command", ["demo", "explain", "evaluate", "train"])
def test_help_says_what_each_command_does(command, capsys):
    run([command, "--help"])
    printed = capsys.readouterr().out
    assert len(printed.split()) > 30
