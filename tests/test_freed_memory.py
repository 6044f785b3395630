"""Freed memory that stays with the process, seen by the page faults of asking for it again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fsl_explain import freed_memory

COUNT = "from workloads import page_faults_of_a_network as faults; print(faults())"
FEW, MANY = 600, 1280  # four activations of 64 MiB in each of ten passes, in huge pages of 2 MiB


def printed(first, **environment):
    """Return what another process prints that runs a line and then counts."""
    here = Path(__file__).parent
    inherited = {name: value for name, value in os.environ.items() if name not in freed_memory.CHOSEN_BY_USER}
    inherited["PYTHONPATH"] = os.pathsep.join([str(here / "engines"), str(here.parent)])
    command = [sys.executable, "-c", f"{first}\n{COUNT}"]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_process_by_itself_gives_it_back():
    assert int(printed("")[-1]) >= MANY


def test_it_is_kept_once_that_is_asked_for():
    kept, faults = printed("from fsl_explain import keep_freed_memory; print(keep_freed_memory())")
    assert kept == "True"
    assert int(faults) < FEW


@pytest.mark.parametrize("name", freed_memory.CHOSEN_BY_USER)
def test_the_choice_of_the_user_stands(name, monkeypatch):
    monkeypatch.setenv(name, "glibc.malloc.mmap_max=9" if name.startswith("GLIBC") else "9")
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", None)  # not to be asked
    assert not freed_memory.keep_freed_memory()


@pytest.mark.parametrize("program", ["fsl_explain", "retrieval_explain"])
def test_a_command_line_keeps_it(program):
    run = (
        f"import contextlib\nfrom {program}.cli import main\nwith contextlib.suppress(SystemExit): main(['--version'])"
    )
    assert int(printed(run)[-1]) < FEW


def test_another_system_is_left_alone(monkeypatch):
    for name in freed_memory.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", None)
    assert not freed_memory.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    for name in freed_memory.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: object())
    assert not freed_memory.keep_freed_memory()
