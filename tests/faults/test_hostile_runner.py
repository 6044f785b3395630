"""Every fault that a hostile input can show is told by the runner: a table of zeros means something."""

import os
import signal
import time

import pytest
from faults.hostile import runner

from episodes.errors import Mistake


def _refuse():
    raise Mistake("expected less, but got more; give less.")


def _fail():
    raise KeyError("a fault of ours")


@pytest.mark.parametrize(
    ("act", "verdict", "kind"),
    [
        (_refuse, "refused", "refused"),
        (_refuse, "taken", "silent wrong"),
        (_fail, "refused", "traceback"),
        (_fail, "taken", "traceback"),
        (lambda: 1, "refused", "silent wrong"),
        (lambda: 1, "taken", "taken"),
        (lambda: 1, lambda result: result == 2, "silent wrong"),
        (lambda: 2, lambda result: result == 2, "taken"),
    ],
)
def test_every_end_of_a_case_has_its_name(act, verdict, kind):
    assert runner.judged(("a case", act, verdict))[0] == kind


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda: time.sleep(60), "hang"),
        (lambda: len(b"x" * (5 << 29)), "memory"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "traceback"),
    ],
)
def test_a_hang_a_crash_and_much_memory_are_seen(act, kind):
    assert runner.run_apart(("a case", act, "taken"), seconds=60.0 if kind == "memory" else 0.5)[0] == kind
