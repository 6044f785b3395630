"""Work for the tests of engines, in a module that workers can import."""

import os
import resource
import signal
import warnings
from pathlib import Path

import torch

from episodes.errors import MissingFile


class Noted:
    """Every start and every part that is made leaves a line."""

    def __init__(self, made):
        self.made = Path(made)
        self.note("start")

    def note(self, line):
        with self.made.open("a") as file:
            file.write(f"{line}\n")


class Doubler(Noted):
    """Double a number."""

    def __call__(self, part):
        self.note(part.name)
        number = float(part.made_of["number"])
        return {"z": torch.tensor([2 * number]), "a": torch.tensor([[number, torch.nan]]), "none": torch.zeros(0)}


class Failing(Doubler):
    """Raise at one number, or at the start."""

    def __init__(self, made, at, kind):
        super().__init__(made)
        self.at, self.kind = at, kind
        if at == "start":
            self.fail()

    def __call__(self, part):
        if part.made_of["number"] == self.at:
            self.fail()
        return super().__call__(part)

    def fail(self):
        if self.kind == "mistake":
            raise MissingFile("expected a file, but there is none; look for it.")
        if self.kind == "odd":
            raise Odd("one", "two")
        raise ZeroDivisionError("by zero")


class Odd(Exception):
    """Cannot be made again from what it prints."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Dying(Doubler):
    """Kill the worker in one part, as often as asked, before or after it is made."""

    def __init__(self, made, at, times, how):
        super().__init__(made)
        self.at, self.times, self.how = at, times, how

    def __call__(self, part):
        if self.how == "after":
            result = super().__call__(part)
        died = self.made.with_name("died.txt")
        before = len(died.read_text().split()) if died.exists() else 0
        if part.made_of["number"] == self.at and before < self.times:
            with died.open("a") as file:
                file.write("died\n")
            if self.how == "exit":
                os._exit(3)
            os.kill(os.getpid(), signal.SIGKILL)
        return result if self.how == "after" else super().__call__(part)


class Warning_(Doubler):
    """Warn in every part."""

    def __call__(self, part):
        warnings.warn("it is late", RuntimeWarning, stacklevel=1)
        return super().__call__(part)


def page_faults_of_a_network():
    """Return those of ten forward passes, whose activations have 64 MiB, after ten others."""
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 1), torch.nn.ReLU())
    images, counts = torch.zeros(4, 1, 1024, 1024), []
    with torch.no_grad():
        for _ in range(20):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            network(images)
            counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return sum(counts[10:])


class PageFaults(Doubler):
    """Tell what activations cost that were freed before."""

    def __call__(self, _):
        return {"faults": torch.tensor(page_faults_of_a_network())}


class Threads(Doubler):
    """Tell the threads and the process."""

    def __call__(self, _):
        return {"threads": torch.tensor(torch.get_num_threads()), "process": torch.tensor(os.getpid())}
