"""Writers killed at random times, and within random system calls, leave a bank that answers as the old or the new."""

import gc
import itertools
import os
import pathlib
import random
import shutil
import signal
import time
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import torch
from small_banks import CHANGES, NEW, OLD, holds, old_bank, small_blocks_and_pieces
from tiny_encoder import tiny_encoder

from episodes import DigitScenes
from retrieval_explain import MemoryBank
from retrieval_explain.store.building import build_on_disk

small_blocks = pytest.fixture(autouse=True)(small_blocks_and_pieces)
bank = pytest.fixture(old_bank)
CALLS = ("pwrite", "fsync", "rename", "replace", "unlink", "mkdir", "ftruncate", "link", "rmdir")
AT_THE_SWITCH = 12  # the last calls, which make the new version current and remove the old one
SCENES = DigitScenes(part="novel", per_class=3, size=32)
ENCODER = tiny_encoder(dtype=torch.float32)


def in_a_child(work, *arguments, prepare=lambda: None):
    """Run work in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    gc.disable()  # a collection would touch, and so copy, all that the parent holds
    with suppress(BaseException):
        torch.set_num_threads(1)
        prepare()
        work(*arguments)
        os._exit(0)
    os._exit(1)


def killed_at_call(work, directory, number, torn):
    """Kill some work at one of its system calls; return whether it was still running by then."""
    return was_killed(in_a_child(work, directory, prepare=partial(watched_calls, dying_at(number, torn))))


def was_killed(child):
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def watched_calls(at_call):
    """Call ``at_call`` with the function and its arguments in place of each system call that writes."""

    def instead(call):
        return lambda *args, **options: at_call(call, *args, **options)

    for name in CALLS:
        setattr(os, name, instead(getattr(os, name)))
    opened = pathlib.Path.open
    pathlib.Path.open = lambda *args, **options: at_call(opened, *args, **options)


def dying_at(number, torn):
    """Kill the process at a call: before it, or within it, when half of what it writes is written."""
    calls = itertools.count(1)

    def at_call(call, *args, **options):
        if next(calls) != number:
            return call(*args, **options)
        with suppress(OSError):
            if torn:
                call(*(_half(args) if call.__name__ == "pwrite" else args), **options)
        os.kill(os.getpid(), signal.SIGKILL)
        return None

    return at_call


def _half(arguments):
    handle, data, offset = arguments
    return handle, bytes(data)[: len(data) // 2], offset


def calls_of(work):
    """Count the system calls of some work, in a process of its own."""
    reading, writing = os.pipe()

    def counted():
        total = itertools.count()
        watched_calls(lambda call, *args, **options: (next(total), call(*args, **options))[1])
        work()
        os.write(writing, str(next(total)).encode())

    assert not was_killed(in_a_child(counted))
    return int(os.read(reading, 20))


def nearest_ids(directory, queries):
    found = MemoryBank.load(directory)
    return found.ids[found.search(torch.from_numpy(queries), 1).indices.squeeze(1)].tolist()


def check_old_or_new(directory, rows, ids):
    """Check that the bank answers as the old one or as the new one; return whether as the old one."""
    if holds(directory, OLD, range(30)):
        assert nearest_ids(directory, OLD) == list(range(30))
        return True
    assert holds(directory, rows, ids)
    assert nearest_ids(directory, rows) == list(ids)
    return False


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_within_any_system_call_leaves_the_old_bank_or_the_new_one(bank, tmp_path, change):
    work, rows, ids = CHANGES[change]
    shutil.copytree(bank, tmp_path / "counted")
    total = calls_of(lambda: work(tmp_path / "counted"))
    chance = random.Random(f"calls of {change}")
    before, switch = range(1, total - AT_THE_SWITCH + 1), range(total - AT_THE_SWITCH + 1, total + 1)
    instants = [(call, chance.random() < 0.5) for call in chance.sample(before, 10)]
    instants += [(call, torn) for call in switch for torn in (False, True)]
    outcomes = set()
    for number, (call, torn) in enumerate(instants):
        copy = tmp_path / f"killed-{number}"
        shutil.copytree(bank, copy)
        assert killed_at_call(work, copy, call, torn)
        outcomes.add(check_old_or_new(copy, rows, ids))
    assert outcomes == {True, False}


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_time_leaves_the_old_bank_or_the_new_one(bank, tmp_path, change):
    work, rows, ids = CHANGES[change]
    shutil.copytree(bank, tmp_path / "timed")
    start = time.perf_counter()
    assert not was_killed(in_a_child(work, tmp_path / "timed"))
    duration = time.perf_counter() - start
    chance = random.Random(f"times of {change}")
    killed = 0
    for number in range(20):
        copy = tmp_path / f"killed-{number}"
        shutil.copytree(bank, copy)
        child = in_a_child(work, copy)
        time.sleep(chance.uniform(0, duration))
        os.kill(child, signal.SIGKILL)
        killed += was_killed(child)
        if check_old_or_new(copy, rows, ids):
            work(copy)
        assert holds(copy, rows, ids)
    assert killed >= 5


def build(directory, **options):
    """Build the bank of the scenes; return how many images were kept at the start."""
    told = []
    build_on_disk(ENCODER, SCENES, directory, batch_size=4, report=lambda *parts: told.append(parts[1]), **options)
    return told[0]


def test_a_build_that_is_killed_is_resumed_to_the_same_bank(tmp_path):
    build(tmp_path / "whole")
    whole = MemoryBank.load(tmp_path / "whole")
    total = calls_of(lambda: build(tmp_path / "counted"))
    chance = random.Random(0)
    kept = set()
    for number, call in enumerate(chance.sample(range(1, total + 1), 20)):
        directory = tmp_path / f"killed-{number}"
        assert killed_at_call(build, directory, call, torn=chance.random() < 0.5)
        kept.add(build(directory, resume=True))
        resumed = MemoryBank.load(directory)
        assert torch.equal(resumed.rows.read(0, len(whole)), whole.rows.read(0, len(whole)))
        assert (resumed.ids.tolist(), resumed.labels.tolist()) == (whole.ids.tolist(), whole.labels.tolist())
        assert resumed.search(resumed.rows.read(0, 3), 1).indices.squeeze(1).tolist() == [0, 1, 2]
        assert not (directory / "unfinished").exists()
    assert len(kept) >= 3


def test_the_answer_of_the_new_rows_is_not_that_of_the_old():
    assert not np.isin(NEW, OLD).any()
