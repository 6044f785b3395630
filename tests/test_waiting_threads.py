"""What the OpenMP of PyTorch is told of how its threads wait, in a process of its own."""

import os
import subprocess
import sys

import pytest
import torch

from fsl_explain.waiting_threads import TURNS, wait_briefly

COMMAND = """
import sys
from fsl_explain.cli.app import run
assert "torch" not in sys.modules
run(["--version"])
import torch
torch.ones(10) + 1
"""


def told(program, **chosen):
    """What libgomp says of itself when it is loaded."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = kept | {"OMP_DISPLAY_ENV": "verbose"} | chosen
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    if "GOMP_SPINCOUNT" not in ended.stderr:
        pytest.skip("PyTorch has another OpenMP here")
    return ended.stderr


def test_a_command_waits_briefly():
    assert f"GOMP_SPINCOUNT = '{TURNS}'" in told(COMMAND)


def test_a_program_by_itself_waits_as_it_did():
    assert f"GOMP_SPINCOUNT = '{TURNS}'" not in told("import torch; torch.ones(10) + 1")


@pytest.mark.parametrize("chosen", [{"GOMP_SPINCOUNT": "77"}, {"OMP_WAIT_POLICY": "passive"}])
def test_what_the_user_chose_stays(chosen):
    said = told(COMMAND, **chosen)
    assert f"GOMP_SPINCOUNT = '{TURNS}'" not in said
    assert ("GOMP_SPINCOUNT = '77'" in said) == ("GOMP_SPINCOUNT" in chosen)


def test_it_says_that_it_is_too_late(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    assert torch.__name__ in sys.modules
    assert not wait_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ
