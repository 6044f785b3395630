"""A training that was stopped goes on to the weights of one that was not, bit for bit."""

import random

import pytest
import torch
from tiny_training import OBJECTIVES, NoiseImages, assert_same_weights, settings, tiny_encoder, weights, with_head

from fsl_explain.training import Unfinished, train
from fsl_explain.training import unfinished as unfinished_module

IMAGES = {"images": {"labels_sha256": "0"}}


class Stopped(Exception):
    """Stands for whatever ends a process."""


def place(tmp_path, objective, made_from=IMAGES, name="w.safetensors", **sections):
    config = settings(objective, output=tmp_path / name, **sections)
    return config, Unfinished.of(config, made_from)


def stop_after(batches):
    told = []  # first what was done before, then every batch

    def report(done, _total):
        told.append(done)
        if len(told) > batches:
            raise Stopped

    return report


@pytest.mark.parametrize("make", [tiny_encoder, with_head], ids=["no head", "head"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_at_random_and_resumed_it_ends_at_the_same_weights(objective, make, tmp_path):
    rng = random.Random(objective)
    run = {"keep_every": rng.randint(1, 3)}
    kind = {"kind": rng.choice(["sgd", "adam"]), "learning_rate": 0.01, "epochs": 3}
    config, unfinished = place(tmp_path, objective, run=run, optimizer=kind)
    whole = make()
    losses = train(whole, NoiseImages(), config)
    for _ in range(3):  # at most 4 of 12 batches each
        with pytest.raises(Stopped):
            train(make(), NoiseImages(), config, unfinished, stop_after(rng.randint(1, 4)))
    resumed = make()
    assert train(resumed, NoiseImages(), config, unfinished) == losses
    assert_same_weights(weights(whole), weights(resumed))


def test_a_finished_state_is_its_own_end(tmp_path):
    """Killed after the last batch and before the weights stand, the training has nothing left to do."""
    config, unfinished = place(tmp_path, "MoCo")
    whole, resumed, dataset = with_head(), with_head(), NoiseImages()
    losses = train(whole, NoiseImages(), config, unfinished)
    assert train(resumed, dataset, config, unfinished) == losses
    assert dataset.read == []
    assert_same_weights(weights(whole), weights(resumed))


def test_a_state_is_kept_every_few_batches_and_at_the_end(tmp_path, monkeypatch):
    config, unfinished = place(tmp_path, "NPID", run={"keep_every": 3})
    steps, save = [], Unfinished.save
    monkeypatch.setattr(Unfinished, "save", lambda self, state: steps.append(state["step"]) or save(self, state))
    train(tiny_encoder(), NoiseImages(), config, unfinished)
    assert steps == [3, 6, 8]


def test_a_write_that_is_killed_leaves_the_older_state(tmp_path, monkeypatch):
    config, unfinished = place(tmp_path, "NPID", run={"keep_every": 2})
    whole = with_head()
    train(whole, NoiseImages(), config)
    writes, write = [], torch.save

    def kill_the_third(state, file):
        writes.append(state["step"])
        if len(writes) == 3:
            file.write(b"half a state")
            raise Stopped
        write(state, file)

    monkeypatch.setattr(unfinished_module.torch, "save", kill_the_third)
    with pytest.raises(Stopped):
        train(with_head(), NoiseImages(), config, unfinished)
    assert unfinished.load()["step"] == 4
    resumed = with_head()
    train(resumed, NoiseImages(), config, unfinished)
    assert_same_weights(weights(whole), weights(resumed))
    assert writes == [2, 4, 6, 6, 8]
    unfinished.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def kept(tmp_path):
    config, unfinished = place(tmp_path, "NPID", run={"keep_every": 2})
    with pytest.raises(Stopped):
        train(tiny_encoder(), NoiseImages(), config, unfinished, stop_after(5))
    return unfinished


DAMAGES = {
    "empty": lambda content: b"",
    "no state": lambda content: b"no state at all",
    "cut in half": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-1],
    "overwritten": lambda content: content[:200] + bytes(100) + content[300:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_refused_in_one_sentence(kept, damage):
    kept.path.write_bytes(DAMAGES[damage](kept.path.read_bytes()))
    sentence = rf"^expected an unfinished training, but .*{kept.path.name} cannot be read; delete it and start again\.$"
    with pytest.raises(ValueError, match=sentence):
        kept.load()


def test_a_state_that_would_run_code_is_refused(kept, tmp_path):
    class Loud:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save({"settings": kept.settings, "objective": Loud()}, kept.path)
    with pytest.raises(ValueError, match=r"cannot be read; delete it and start again"):
        kept.load()
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"objective": {**OBJECTIVES["NPID"], "temperature": 0.1}},
        {"seed": 1},
        {"optimizer": {"learning_rate": 0.01}},
        {"augmentation": {"flip": 0.0}},
        {"encoder": {"pooling": "gmp"}},
        {"data": {"kind": "digit-scenes", "per_class": 3}},
        {"run": {"precision": "bf16"}},
        {"made_from": {"images": {"labels_sha256": "1"}}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_state_of_other_settings_or_images_is_refused(kept, tmp_path, changed):
    values = {"objective": "NPID", "run": {"keep_every": 2}} | changed
    config, unfinished = place(tmp_path, **values)
    assert unfinished.path == kept.path
    sentence = r"^expected an unfinished training of these settings and images, but .* is of others; give the settings"
    with pytest.raises(ValueError, match=sentence):
        train(tiny_encoder(), NoiseImages(), config, unfinished)


def test_a_dictionary_of_something_else_is_refused(kept):
    for other in ({"step": 3}, [1, 2], torch.zeros(3)):
        torch.save(other, kept.path)
        with pytest.raises(ValueError, match=r"is of others; give the settings back, name another output, or delete"):
            kept.load()


def test_the_machine_and_its_places_change_nothing(kept, tmp_path):
    other = {"threads": 1, "workers": 1, "keep_every": 7}
    moved, one = (
        place(tmp_path / folder, "NPID", encoder={"checkpoint": tmp_path / folder / "w.pt"}, run=run)[1]
        for folder, run in (("a", other), ("b", {}))
    )
    assert moved.settings == one.settings
    assert moved.path != one.path
    assert moved.settings != kept.settings


def test_the_state_names_no_path(kept, tmp_path):
    content = kept.path.read_bytes()
    for name in (str(tmp_path), tmp_path.name, "w.safetensors"):
        assert name.encode() not in content
