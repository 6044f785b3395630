"""Turns: who asks for what another thread has waits, in order, and nobody waits for ever."""

import os
import threading
import time
import warnings

import PIL.Image
import pytest
import torch
from matplotlib.figure import Figure
from tiny_training import NoiseImages, settings, tiny_encoder

from episodes.errors import Busy
from episodes.labeled_image import read_image
from fsl_explain import Encoder
from fsl_explain.backbones.capture import evaluating
from fsl_explain.metrics.randomization import untouched_weights
from fsl_explain.pictures.shown_figure import as_png
from fsl_explain.training import train
from fsl_explain.training.seeds import seeded
from fsl_explain.turns import DRAWING, _turns, alone

PATIENCE = 5.0


class Thing:
    """Something that is used by one at a time."""


def started(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def until_waiting(count, thread=None):
    """Return how many wait, once they are so many or the thread is at its end."""
    end = time.monotonic() + PATIENCE
    while len(_turns.queue) < count and (thread is None or thread.is_alive()) and time.monotonic() < end:
        time.sleep(0.0005)
    return len(_turns.queue)


def test_first_come_first_served():
    thing, order = Thing(), []

    def take(number):
        with alone([thing]):
            order.append(number)

    threads = []
    with alone([thing]):
        for number in range(4):
            threads.append(started(lambda number=number: take(number)))
            assert until_waiting(number + 1) == number + 1
        assert order == []
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2, 3]
    assert not _turns.holders


def test_things_that_nobody_has_are_free_to_all():
    first, second, done = Thing(), Thing(), threading.Event()

    def take():
        with alone([second]):
            done.set()

    with alone([first]):
        started(take).join(PATIENCE)
    assert done.is_set()


def test_a_thread_takes_again_what_it_has_and_keeps_it_until_the_outer_end():
    first, second = Thing(), Thing()
    with alone([first, first]):
        with alone([first, second]):
            assert len(_turns.holders) == 2
        assert list(_turns.holders) == [id(first)]
    assert not _turns.holders


def test_an_error_gives_the_turn_back():
    with pytest.raises(KeyError), alone([Thing()]):
        raise KeyError
    assert not _turns.holders


def test_two_threads_that_would_wait_for_each_other_hear_of_it():
    first, second, found = Thing(), Thing(), []
    both = threading.Barrier(2, timeout=PATIENCE)

    def take(one, other):
        try:
            with alone([one]):
                both.wait()
                with alone([other]):
                    found.append("both")
        except Busy as error:
            found.append(str(error))

    threads = [started(lambda: take(first, second)), started(lambda: take(second, first))]
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(text[:11] for text in found) == ["both", "two threads"]
    assert not _turns.holders
    assert not _turns.queue


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_only_its_own_turns():
    mine, theirs = Thing(), Thing()
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with alone([theirs]):
            inside.set()
            leave.wait(PATIENCE)

    thread = started(hold)
    inside.wait(PATIENCE)
    with alone([mine]):
        child = os.fork()
        if not child:
            with alone([theirs]):
                os._exit(0 if set(_turns.holders) == {id(mine), id(theirs)} else 1)
    leave.set()
    thread.join(PATIENCE)
    assert os.waitpid(child, 0)[1] == 0


LINEAR = torch.nn.Linear(2, 2)
CONTEXTS = {"a seeded block": lambda: seeded(5), "random weights": lambda: untouched_weights(LINEAR)}


def draw_in(name):
    with CONTEXTS[name]():
        torch.rand(5)


OTHERS = {
    "a named network": lambda: Encoder.named("conv4net", channels=4, seed=3),
    **{name: lambda name=name: draw_in(name) for name in CONTEXTS},
}


@pytest.mark.parametrize("name", CONTEXTS)
@pytest.mark.parametrize("other", OTHERS)
def test_random_numbers_are_drawn_by_one_thread_at_a_time(name, other):
    with CONTEXTS[name]():
        thread = started(OTHERS[other])
        assert until_waiting(1, thread) == 1
    thread.join(PATIENCE)
    assert not _turns.holders


def test_a_figure_is_drawn_by_one_thread_at_a_time():
    with alone([DRAWING]):
        thread = started(lambda: as_png(Figure(figsize=(1, 1))))
        assert until_waiting(1, thread) == 1
    thread.join(PATIENCE)
    assert not _turns.holders


def test_images_are_opened_one_at_a_time_and_the_filters_of_warnings_stay(tmp_path, monkeypatch):
    """Filters that are changed belong to all threads; two that change them at once leave those of one behind."""
    PIL.Image.new("RGB", (2, 2)).save(tmp_path / "image.png")
    opened, inside, most = PIL.Image.open, [], []

    def slow(*given, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return opened(*given, **options)

    monkeypatch.setattr(PIL.Image, "open", slow)
    before = list(warnings.filters)
    threads = [started(lambda: read_image(tmp_path / "image.png")) for _ in range(4)]
    for thread in threads:
        thread.join(PATIENCE)
    assert len(most) >= 4
    assert set(most) == {1}
    assert warnings.filters == before


def test_a_network_is_explained_before_or_after_a_step_of_its_training():
    encoder, losses = tiny_encoder(), []
    with evaluating(encoder.network):
        thread = started(lambda: losses.extend(train(encoder, NoiseImages(), settings("multi-similarity"))))
        assert until_waiting(1, thread) == 1
        assert not any(module.training for module in encoder.network.modules())
    thread.join(PATIENCE)
    assert losses
