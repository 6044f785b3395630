"""Several processes share every batch and end where one alone does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from tiny_training import OBJECTIVES

from fsl_explain.training import processes

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, str(FIXTURES / "two_processes.py"), str(folder)]
    beside = os.environ | {"PYTHONPATH": str(FIXTURES.parents[1])}
    ended = subprocess.run(command, capture_output=True, timeout=300, check=False, env=beside)
    assert ended.returncode == 0, ended.stderr.decode()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_end_as_one_does(of_two, name):
    alone = two_processes.trained(name)
    for rank in range(2):
        torch.testing.assert_close(of_two[rank][name]["weights"], alone["weights"], rtol=0, atol=1e-6)
        torch.testing.assert_close(of_two[rank][name]["state"], alone["state"], rtol=1e-5, atol=2e-6)
        assert of_two[rank][name]["losses"] == pytest.approx(alone["losses"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kept"), [("NPID", "memory"), ("NPID, full", "memory"), ("MoCo", "queue")])
def test_memory_and_queue_are_the_same_in_both(of_two, name, kept):
    one, other = (result[name]["state"][kept] for result in of_two)
    assert torch.equal(one, other)


def test_alone_everything_is_its_own():
    values = torch.randn(3, 2, requires_grad=True)
    assert (processes.rank(), processes.processes(), processes.own_share()) == (0, 1, slice(0, None, 1))
    assert processes.gathered_to_learn(values) is values
    assert torch.equal(processes.gathered(values), values)
    assert not processes.gathered(values).requires_grad
    assert processes.own_device("cpu") == torch.device("cpu")


def test_the_same_chance_follows_from_the_callers_and_gives_it_back():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        with processes.same_chance(torch.device("cpu")):
            one = torch.rand(4)
        after = torch.rand(4)
        torch.manual_seed(3)
        with processes.same_chance(torch.device("cpu")):
            torch.rand(100)
        assert torch.equal(torch.rand(4), after)
        with processes.same_chance(torch.device("cpu")):
            assert not torch.equal(torch.rand(4), one)


@pytest.mark.parametrize("device", ["cuda:0", "cpu:0"])
def test_a_numbered_device_is_refused_in_several_processes(monkeypatch, device):
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    with (
        pytest.raises(ValueError, match=rf"expected run.device 'cuda' in several processes, but got '{device}'; each"),
        processes.joined(device),
    ):
        pass


def test_a_process_alone_joins_nothing(monkeypatch):
    monkeypatch.delitem(os.environ, "WORLD_SIZE", raising=False)
    with processes.joined("cuda:0"):
        assert not torch.distributed.is_initialized()
