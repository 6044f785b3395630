"""``fsl-explain train`` from end to end: what it writes, and what happens when it is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from fsl_explain import Encoder
from fsl_explain.backbones.weights.checkpoint import read_state
from fsl_explain.cli.app import run
from fsl_explain.config import HeadConfig

SETTINGS = """
output = "weights.safetensors"
[data]
kind = "image-folder"
root = "images"
[encoder]
name = "conv4net"
architecture = {channels = 4, size = 16}
[encoder.head]
kind = "mlp"
width = 3
hidden = 5
normalize = true
[objective]
kind = "momentum-contrast"
batch_size = 4
queue = 8
[optimizer]
learning_rate = 0.05
epochs = 2
batches_per_epoch = 3
"""


@pytest.fixture
def config(tmp_path):
    chance = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "images" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(chance.integers(0, 256, (18, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "train.toml").write_text(SETTINGS)
    return tmp_path / "train.toml"


def train(config, *options):
    return run(["train", "--config", str(config), *options])


def written(config, name="weights"):
    return config.with_name(f"{name}.safetensors").read_bytes()


def test_what_it_writes_is_read_back_with_its_head(config, tmp_path):
    assert train(config) == 0
    path, head = tmp_path / "weights.safetensors", HeadConfig(kind="mlp", width=3, hidden=5, normalize=True)
    assert {"blocks.block1.conv.weight", "head.0.weight", "head.2.bias"} <= set(read_state(path))
    encoder = Encoder.named("conv4net", checkpoint=path, head=head, channels=4, size=16)
    for name, value in read_state(path).items():
        module = encoder.head if name.startswith("head.") else encoder.network
        assert torch.equal(module.state_dict()[name.removeprefix("head.")], value), name
    random_one = Encoder.named("conv4net", head=head, channels=4, size=16)
    for one, other in zip(encoder.head.parameters(), random_one.head.parameters(), strict=True):
        assert not torch.equal(one, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "images",
        "train.toml",
        "weights.json",
        "weights.safetensors",
    ]


def test_a_second_run_gives_equal_bytes(config, tmp_path):
    first = []
    for _ in range(2):
        assert train(config) == 0
        first.append((written(config), (tmp_path / "weights.json").read_bytes()))
    assert first[0] == first[1]
    assert train(config, "--set", "seed=1") == 0
    assert written(config) != first[0][0]


def test_the_json_says_what_was_trained_and_names_no_path(config, tmp_path):
    assert train(config) == 0
    begun = [
        "--set",
        f"encoder.checkpoint={tmp_path}/weights.safetensors",
        "--set",
        f"output={tmp_path}/again.safetensors",
    ]
    assert train(config, *begun) == 0
    text = (tmp_path / "again.json").read_text()
    assert str(tmp_path) not in text
    assert tmp_path.name not in text
    recorded = json.loads(text)
    assert recorded["training"]["objective"]["kind"] == "momentum-contrast"
    assert recorded["training"]["encoder"]["checkpoint"] == "weights.safetensors"
    assert recorded["training"]["precision"] == "float32"
    assert len(recorded["checkpoint_sha256"]) == 64
    assert recorded["images"]["dataset"]["images"] == 12
    assert len(recorded["epoch_losses"]) == 2
    assert recorded["versions"]["torch"]


def test_accuracy_is_printed_before_and_after(config, capsys):
    data = '[test.data]\nkind = "image-folder"\nroot = "images"\n'
    config.write_text(SETTINGS + data + "[test.episodes]\ncount = 2\nn_way = 2\nn_query = 1\n")
    assert train(config) == 0
    printed = capsys.readouterr()
    assert "Accuracy before training" in printed.out
    assert "Accuracy after training" in printed.out
    assert "weights.safetensors" in printed.out
    assert "Mean loss of the first epoch" in printed.err


def test_an_unfinished_training_asks_for_resume(config, tmp_path, capsys):
    (tmp_path / "weights.unfinished").write_bytes(b"something")
    assert train(config) == 2
    sentence = "fsl-explain: expected no unfinished training beside the output, but found"
    assert capsys.readouterr().err.startswith(sentence)
    assert train(config, "--resume") == 2
    assert "weights.unfinished cannot be read; delete it and start again." in capsys.readouterr().err
    assert not (tmp_path / "weights.safetensors").exists()
    (tmp_path / "weights.unfinished").unlink()
    assert train(config, "--resume") == 0


def test_a_training_is_not_resumed_over_photographs_that_were_replaced(config, tmp_path, capsys, monkeypatch):
    def stopped(settings, dataset, unfinished, made_from):
        unfinished.save({"step": torch.zeros(1)})
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("fsl_explain.cli.train._train", stopped)
        assert train(config) == 130
    photograph = next((tmp_path / "images").rglob("*.png"))
    PIL.Image.fromarray(np.full((18, 20, 3), 7, np.uint8)).save(photograph)
    assert train(config, "--resume") == 2
    assert "expected an unfinished training of these settings and images, but" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("objective.batch_size=24", "objective.queue=24"), "a batch needs 24 images, but there are 12"),
        (("objective.queue=9",), "expected a queue that is a multiple of the batch of 4, but got 9"),
        (("encoder.inference=folded",), "training needs encoder.inference 'eager', but got 'folded'; drop it"),
        (("output=weights.pt",), "expected an output that ends in .safetensors"),
        (("optimizer.rates=[[1, 0.1]]",), "rates belong to schedule 'steps', but it is 'cosine'"),
        (("optimizer.schedule=steps", "optimizer.rates=[[2, 0.1]]"), "rising epochs between 1 and 1, but got [2]"),
        (("optimizer.schedule=steps", "optimizer.rates=[[1, 0.0]]"), "expected rates above 0"),
        (("objective.kind=triplet",), "'triplet'"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(config, tmp_path, capsys, options, sentence):
    assert train(config, *(part for option in options for part in ("--set", option))) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "train.toml"]


KEEPER = """
import os, sys
import fsl_explain.cli.train, torch._dynamo
from fsl_explain.cli.app import run
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os._exit(run(line.split()))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Keeper:
    """One process that has everything imported, and starts commands as processes of their own in no time."""

    def __init__(self):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", KEEPER]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def start(self, *arguments):
        self.process.stdin.write(" ".join(arguments) + "\n")
        self.process.stdin.flush()
        return int(self._number())

    def ended(self):
        return int(self._number())

    def _number(self):
        """Read a line of ours; a command prints its own between them."""
        while not (line := self.process.stdout.readline().strip()).lstrip("-").isdigit():
            assert self.process.poll() is None
        return line


@pytest.fixture(scope="module")
def keeper():
    one = Keeper()
    yield one
    one.process.communicate(timeout=600)


def written_at(kept: Path):
    return kept.stat().st_mtime_ns if kept.exists() else 0


def kill(keeper, command, kept: Path, delay):
    """Kill a command some time after it kept a state; it may have ended by then."""
    before, process, deadline = written_at(kept), keeper.start(*command), time.monotonic() + 60
    while written_at(kept) == before and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return keeper.ended()


MARGIN = 'kind = "margin"\nclasses_per_batch = 3\nimages_per_class = 2\nlearn_boundary = true\n'
NPID = 'kind = "instance-discrimination"\nbatch_size = 4\nnegatives = 5\n'


@pytest.mark.slow
@pytest.mark.parametrize(("keep_every", "objective"), [(1, NPID), (3, MARGIN)], ids=["NPID", "Margin"])
def test_killed_at_random_instants_it_ends_at_the_same_bytes(config, tmp_path, keeper, keep_every, objective):
    rng = random.Random(keep_every)
    begin, end = SETTINGS.split("[objective]", maxsplit=1)[0], SETTINGS.split("[optimizer]")[1]
    config.write_text(f"{begin}[objective]\n{objective}[optimizer]{end}")
    command = ["train", "--config", str(config), "--set", "optimizer.batches_per_epoch=25"]
    command += ["--set", f"run.keep_every={keep_every}"]
    keeper.start(*command, "--set", f"output={tmp_path}/whole.safetensors")
    assert keeper.ended() == 0
    kept = tmp_path / "weights.unfinished"
    ends = [kill(keeper, [*command, "--resume"], kept, rng.uniform(0.0, 0.05)) for _ in range(3)]
    assert ends[0] == -signal.SIGKILL
    keeper.start(*command, "--resume")
    assert keeper.ended() == 0
    assert written(config) == written(config, "whole")
    assert (tmp_path / "weights.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not list(tmp_path.glob("*.unfinished*"))
