"""Writers that are killed or interrupted at any instant leave the old bank or the new one, whole."""

import gc
import itertools
import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from small_banks import CHANGES, NEW, OLD, holds, interrupted, old_bank, rebuild, small_blocks_and_pieces

from retrieval_explain.store.changes import append, write_notes
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

small_blocks = pytest.fixture(autouse=True)(small_blocks_and_pieces)
bank = pytest.fixture(old_bank)


def traced(at_line):
    """Call ``at_line`` at every line that runs in the library, shutil and pathlib."""

    def tracer(frame, _event, _argument):
        name = frame.f_code.co_filename
        if not name.endswith(("shutil.py", "pathlib.py")) and "retrieval_explain" not in name:
            return None
        at_line()
        return tracer

    sys.settrace(tracer)


def killed(work, after):
    """Run ``work`` in a process of its own that is killed at its ``after``-th line; return whether it was."""
    child = os.fork()
    if child == 0:
        gc.disable()  # a collection would touch, and so copy, all that the parent holds
        lines = itertools.count(1)
        traced(lambda: os.kill(os.getpid(), signal.SIGKILL) if next(lines) == after else None)
        with suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def lines_of(work):
    lines = itertools.count()
    before = sys.gettrace()
    traced(lambda: next(lines))
    try:
        work()
    finally:
        sys.settrace(before)
    return next(lines)


@pytest.mark.parametrize("change", CHANGES)
def test_a_kill_at_any_line_leaves_the_old_bank_or_the_new_one(bank, tmp_path, change):
    work, rows, ids = CHANGES[change]
    counted = tmp_path / "counted"
    shutil.copytree(bank, counted)
    total = lines_of(lambda: work(counted))
    kills = sorted(random.Random(change).sample(range(1, total), 20))
    outcomes = set()
    for number, line in enumerate(kills):
        copy = tmp_path / f"killed-{number}"
        shutil.copytree(bank, copy)
        assert killed(lambda copy=copy: work(copy), line)
        old = holds(copy, OLD, range(30))
        assert old or holds(copy, rows, ids)
        outcomes.add(old)
        if old:
            work(copy)
        write_notes(copy, {"swept": True})
        assert holds(copy, rows, ids)
        assert len(list(copy.glob("version-*"))) == 1
    assert any(outcomes), "every kill came after the switch"


def test_kills_at_random_times_leave_a_whole_bank(bank):
    moments, longest = random.Random(0), 0.1
    sizes = set()
    for number in range(60):
        if number >= 12 and len(sizes) > 2:
            break
        child = os.fork()
        if child == 0:
            gc.disable()
            with suppress(BaseException):
                for step in range(200):
                    append(
                        bank, NEW, ids=range(1000 * (200 * number + step + 1), 1000 * (200 * number + step + 1) + 20)
                    )
            os._exit(0)
        time.sleep(moments.uniform(0.005, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = open_bank(bank)
        assert np.array_equal(found.rows(0, 30), OLD)
        assert np.array_equal(found.rows(30, len(found)), np.tile(NEW, ((len(found) - 30) // 20, 1)))
        assert len(found.ids) == len(found)
        if len(found) in sizes:
            longest *= 1.1  # on a busy machine the child is killed before it begins
        sizes.add(len(found))
    assert len(sizes) > 2


def test_a_killed_build_goes_on_from_its_last_whole_piece(tmp_path):
    counted = tmp_path / "counted"
    total = lines_of(lambda: rebuild(counted))
    kept = set()
    for number, line in enumerate(random.Random(5).sample(range(1, total), 20)):
        directory = tmp_path / f"resumed-{number}"
        assert killed(lambda directory=directory: rebuild(directory), line)
        switched = (directory / "CURRENT").is_file()
        if not switched:
            with suppress(KeyboardInterrupt), BankWriter(directory, 4, resume=True) as writer:
                kept.add(writer.rows)
                raise KeyboardInterrupt
            rebuild(directory, resume=True)
        assert holds(directory, NEW, range(100, 120))
    assert {0, 20} & kept
    assert len(kept) >= 3


def test_an_interrupt_keeps_every_row_and_the_old_bank(bank):
    interrupted(bank)
    assert holds(bank, OLD, range(30))
    append(bank, NEW[:1])
    with BankWriter(bank, 4, resume=True) as writer:
        assert writer.rows == 11
        writer.add(NEW[11:])
    assert holds(bank, NEW, range(20))


def test_an_unfinished_build_of_other_settings_or_with_damage_is_not_resumed(tmp_path):
    interrupted(tmp_path, encoder="conv")
    with pytest.raises(ValueError, match="has encoder 'conv', but 'other' is asked for"):
        BankWriter(tmp_path, 4, encoder="other", resume=True).__enter__()
    for name in ("pieces.journal", "pieces-000000.parquet", "embeddings.safetensors"):
        path = tmp_path / "unfinished" / name
        data = path.read_bytes()
        path.write_bytes(data[:-30] + bytes([data[-30] ^ 1]) + data[-29:])
        with pytest.raises(ValueError, match="damaged; build the bank again without resuming"):
            BankWriter(tmp_path, 4, encoder="conv", resume=True).__enter__()
        path.write_bytes(data)
    with BankWriter(tmp_path, 4, encoder="conv", resume=True) as writer:
        assert writer.rows == 11
