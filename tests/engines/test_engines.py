"""Every engine gives the results of the work itself, whatever was kept; damaged and foreign shards are not used."""

import functools
import pickle
from dataclasses import replace

import pytest
import torch

from fsl_explain.engine import ENGINES, Engine, Part, engine_for


class Doubler:
    """Double a number; every part that is made leaves a line."""

    def __init__(self, made):
        self.made = made

    def __call__(self, part):
        with self.made.open("a") as file:
            file.write(f"{part.name}\n")
        number = float(part.made_of["number"])
        return {"z": torch.tensor([2 * number]), "a": torch.tensor([[number, torch.nan]]), "none": torch.zeros(0)}


PARTS = [Part(f"number-{number}", {"number": number, "sizes": (1, 2)}) for number in (3, 1, 4)]


@pytest.fixture
def made(tmp_path):
    path = tmp_path / "made.txt"
    path.touch()
    return path


@pytest.fixture
def said():
    return []


@pytest.fixture(params=list(ENGINES))
def run(request, tmp_path, made, said):
    """Run all parts, the parts given, or those of another run."""

    def over(parts=PARTS, fingerprint="this run", folder=tmp_path / "kept"):
        engine = ENGINES[request.param](folder, fingerprint, said.append)
        assert isinstance(engine, Engine)
        return dict(engine.map(functools.partial(Doubler, made), parts))

    return over


def names(made):
    return made.read_text().split()


def same(first, second):
    assert list(first) == list(second)
    for position, result in first.items():
        assert list(result) == list(second[position])  # in the order in which the work gave them
        for name, value in result.items():
            assert torch.equal(value.nan_to_num(7), second[position][name].nan_to_num(7))


def test_results_are_those_of_the_work_with_and_without_a_folder(run, made):
    work = Doubler(made)
    expected = {position: work(part) for position, part in enumerate(PARTS)}
    same(run(folder=None), expected)
    same(run(), expected)


def test_what_is_finished_is_not_made_again(run, made, tmp_path, said):
    first = run()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(f"{p.name}.safetensors" for p in PARTS)
    (tmp_path / "kept" / "number-1.safetensors").unlink()
    same(run(), first)
    assert names(made) == [*(part.name for part in PARTS), "number-1"]
    assert not said


def test_a_shard_of_another_run_is_made_again(run, made, said):
    run()
    run(fingerprint="another run")
    assert len(names(made)) == 2 * len(PARTS)
    assert said[0] == "The finished part number-3.safetensors is of another run; it is measured again."


def test_a_shard_of_another_part_is_made_again(run, made, said):
    run()
    changed = [replace(PARTS[0], made_of={"number": 5, "sizes": (1, 2)}), *PARTS[1:]]
    assert float(run(changed)[0]["z"]) == 10
    assert names(made)[len(PARTS) :] == ["number-3"]
    assert said == ["The finished part number-3.safetensors is of another part; it is measured again."]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "no header"])
def test_a_damaged_shard_is_made_again(run, made, tmp_path, said, damage):
    first, path = run(), tmp_path / "kept" / "number-1.safetensors"
    content = path.read_bytes()
    changed = {
        "cut": content[:-3],
        "empty": b"",
        "flipped": content[:-1] + bytes([content[-1] ^ 64]),
        "no header": b"x" * 100,
    }
    path.write_bytes(changed[damage])
    same(run(), first)
    assert names(made)[len(PARTS) :] == ["number-1"]
    assert said == ["The finished part number-1.safetensors is damaged; it is measured again."]
    said.clear()
    run()
    assert not said


def test_a_name_of_any_letters_is_a_file(run, tmp_path):
    run([Part("mine/of ours", {"number": 1})])
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["mine_of_ours.safetensors"]


def test_an_interrupted_run_keeps_what_was_finished(run, made, monkeypatch):
    whole = run(folder=None)
    made.write_text("")
    usual = Doubler.__call__

    def stopped(self, part):
        if part.name == "number-4":
            raise KeyboardInterrupt
        return usual(self, part)

    monkeypatch.setattr(Doubler, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(Doubler, "__call__", usual)
    same(run(), whole)
    assert names(made) == ["number-3", "number-1", "number-4"]


def test_parts_can_be_pickled():
    assert pickle.loads(pickle.dumps(PARTS)) == PARTS


def test_an_engine_is_given_by_name_or_as_an_object(tmp_path):
    own = ENGINES["local"](None, "", print)
    assert engine_for(own, None, "run") is own
    with pytest.raises(LookupError, match="unknown engine 'lokal'; did you mean 'local'"):
        engine_for("lokal", None, "run")
    with pytest.raises(ValueError, match=r"a folder for finished parts or an engine of your own, but got both"):
        engine_for(own, tmp_path, "run")
