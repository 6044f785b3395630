"""Every engine gives the results of the work itself, whatever was kept, and whatever becomes of its workers."""

import functools
import os
import pickle
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from warm_engines import WITH_WORKERS, WORKERS, started
from workloads import Doubler, Dying, Failing, Odd, Threads, Warning_

from episodes.errors import MissingFile, Mistake, WorkerLost
from fsl_explain.engine import ENGINES, Engine, EngineOptions, Part, engine_for
from fsl_explain.engines.process import ProcessEngine
from fsl_explain.engines.schedule import Schedule
from fsl_explain.own_code import found_function, importing_for

PARTS = [Part(f"number-{number}", {"number": number, "sizes": (1, 2)}) for number in (3, 1, 4)]
MANY = [Part(f"number-{number}", {"number": number}) for number in range(6)]


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

    def over(parts=PARTS, fingerprint="this run", folder=tmp_path / "kept", make=None):
        make = functools.partial(Doubler, made) if make is None else make
        engine = replace(started(request.param), folder=folder, run=fingerprint, say=said.append)
        assert isinstance(engine, Engine)
        found = list(engine.map(make, parts))
        assert len(found) == len({position for position, _ in found}) == len(parts)  # each once
        return dict(sorted(found))

    over.engine = request.param
    return over


def names(made):
    return [name for name in made.read_text().split() if name != "start"]


def in_any_order(made):
    return sorted(names(made))


def same(first, second):
    assert list(first) == list(second)
    for position, result in first.items():
        assert list(result) == list(second[position])  # in the order in which the work gave them
        for name, value in result.items():
            assert torch.equal(value.nan_to_num(7), second[position][name].nan_to_num(7))


def test_results_are_those_of_the_work_with_and_without_a_folder(run, made):
    work = Doubler(made.with_name("expected.txt"))
    expected = {position: work(part) for position, part in enumerate(PARTS)}
    same(run(folder=None), expected)
    same(run(), expected)


def test_what_is_finished_is_not_made_again(run, made, tmp_path, said):
    first = run()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(f"{p.name}.safetensors" for p in PARTS)
    (tmp_path / "kept" / "number-1.safetensors").unlink()
    same(run(), first)
    assert in_any_order(made) == sorted([*(part.name for part in PARTS), "number-1"])
    assert not said


def test_a_shard_of_another_run_is_made_again(run, made, said):
    run()
    run(fingerprint="another run")
    assert len(names(made)) == 2 * len(PARTS)
    assert sorted(said)[1] == "The finished part number-3.safetensors is of another run; it is measured again."


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
    assert [path.name.partition("~")[0] for path in (tmp_path / "kept").iterdir()] == ["mine_of_ours"]


def test_parts_whose_names_differ_in_special_characters_alone_share_no_file(run, made, tmp_path, said):
    parts = [Part(name, {"number": at}) for at, name in enumerate(("a_b", "a b", "a/b", "größe", "gräße"))]
    first = run(parts)
    assert len([*(tmp_path / "kept").iterdir()]) == len(parts)
    assert (tmp_path / "kept" / "a_b.safetensors").is_file()  # as it was always called
    noted = len(names(made))
    same(run(parts), first)
    assert len(names(made)) == noted
    assert not said


@pytest.mark.parametrize("kind", ["mistake", "odd", "of nobody"])
def test_what_a_part_raises_is_raised_and_what_was_finished_is_kept(run, made, tmp_path, kind):
    kinds = {"mistake": MissingFile, "odd": Odd, "of nobody": ZeroDivisionError}
    said = {"mistake": "expected a file, but there is none; look for it.", "odd": "one and two", "of nobody": "by zero"}
    whole = run(MANY, folder=None)
    made.write_text("")
    with pytest.raises(kinds[kind]) as caught:
        run(MANY, make=functools.partial(Failing, made, 5, kind))
    assert type(caught.value) is kinds[kind]
    assert str(caught.value) == said[kind]
    assert isinstance(caught.value, Mistake) == (kind == "mistake")
    kept = {path.stem for path in (tmp_path / "kept").iterdir()}
    assert kept <= set(names(made))
    made.write_text("")
    same(run(MANY), whole)
    assert in_any_order(made) == sorted({part.name for part in MANY} - kept)


def test_work_that_cannot_begin_is_told_of(run, made):
    with pytest.raises(MissingFile, match="look for it"):
        run(make=functools.partial(Failing, made, "start", "mistake"))
    assert not names(made)


def test_a_warning_is_given_here(run, made):
    with pytest.warns(RuntimeWarning, match="it is late"):
        run(make=functools.partial(Warning_, made))


@pytest.mark.parametrize("engine", WITH_WORKERS)
class TestWorkers:
    """What only engines with workers do."""

    @pytest.fixture
    def run(self, engine, tmp_path, said):
        def over(make, parts=MANY, folder=tmp_path / "kept"):
            found = list(replace(started(engine), folder=folder, say=said.append).map(make, parts))
            assert len(found) == len({position for position, _ in found}) == len(parts)
            return dict(sorted(found))

        return over

    @pytest.mark.parametrize("threads", [1, 2])
    def test_workers_are_other_processes_of_so_many_threads(self, made, engine, threads):
        engine = replace(started(engine), options=EngineOptions(engine, WORKERS, threads))
        found = [result for _, result in engine.map(functools.partial(Threads, made), MANY)]
        assert os.getpid() not in {int(one["process"]) for one in found}
        assert {int(one["threads"]) for one in found} == {threads}

    def test_code_of_the_users_own_file_is_there(self, run, tmp_path):
        file = tmp_path / "own_work.py"
        file.write_text(
            "import torch\n\nclass Tripled:\n    def __call__(self, part):\n"
            "        return {'z': torch.tensor(3 * part.made_of['number'])}\n"
        )
        name = f"{file}:Tripled"
        with importing_for(name):
            make = found_function(name, "work")
        assert [int(one["z"]) for one in run(make, folder=None).values()] == [0, 3, 6, 9, 12, 15]

    def test_they_begin_once_for_many_parts(self, run, made):
        run(functools.partial(Doubler, made), MANY * 3, folder=None)
        assert 1 <= made.read_text().split().count("start") <= WORKERS

    def test_work_that_cannot_be_sent_is_a_mistake(self, run):
        lock = threading.Lock()
        with pytest.raises(Mistake, match=r"can be sent to other processes, but .* cannot be pickled .* engine local"):
            run(functools.partial(Doubler, lock))

    @pytest.mark.parametrize("how", ["kill", "after"])
    def test_a_lost_worker_loses_and_doubles_nothing(self, run, made, said, how, tmp_path, engine):
        if (engine, how) == ("ray", "after"):
            pytest.skip("the driver is the same, and workers take long to start")
        expected = {place: Doubler(made.with_name("expected.txt"))(part) for place, part in enumerate(MANY)}
        same(run(functools.partial(Dying, made, 2, 1, how)), expected)
        assert len(said) == 1
        assert "A worker was lost with the part number-2 (" in said[0]
        assert said[0].endswith("); the part is made again.")
        assert len(list((tmp_path / "kept").iterdir())) == len(MANY)
        assert in_any_order(made) == sorted([part.name for part in MANY] + (how == "after") * ["number-2"])

    def test_a_part_that_ends_every_worker_is_named(self, run, made, monkeypatch):
        monkeypatch.setattr("fsl_explain.engines.crew.TRIES", 2)
        with pytest.raises(WorkerLost, match=r"the part number-2 has ended 2 workers \(.*\), so that it is not tried"):
            run(functools.partial(Dying, made, 2, 9, "exit"))
        assert len(made.with_name("died.txt").read_text().split()) == 2

    def test_they_end_with_a_run_that_is_left_early(self, engine, made):
        running = started(engine).map(functools.partial(Threads, made), MANY)
        process = int(next(running)[1]["process"])
        running.close()
        deadline = 100
        while deadline and is_there(process):
            deadline -= 1
            time.sleep(0.1)
        assert not is_there(process)


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_schedule_keeps_groups_together_and_gives_lost_parts_first():
    parts = [(place, Part(str(place), {}, group="ab"[place % 2])) for place in range(8)]
    schedule = Schedule(parts)
    assert [schedule.take(1)[0], schedule.take(2)[0], schedule.take(1)[0], schedule.take(2)[0]] == [0, 1, 2, 3]
    assert schedule.take(3)[0] in (4, 5)  # idle, it takes from the longest that is left
    schedule.give_back(parts[0])
    assert schedule.take(2)[0] == 0
    rest = []
    while schedule:
        rest.append(schedule.take(2)[0])
    assert schedule.take(1) is None
    assert len(rest) == 3
    alone = Schedule((place, Part(str(place), {})) for place in range(3))
    assert [alone.take(worker)[0] for worker in (2, 1, 2)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "local", "workers": 2}, "is this process and has no workers, but got 2"),
        ({"name": "process", "workers": 0}, "at least 1 of the workers"),
        ({"name": "ray", "threads": 0}, "at least 1 of the threads"),
        ({"name": "ray", "gpus": -1}, "0 or more of the gpus"),
    ],
)
def test_numbers_that_no_engine_has_are_mistakes(options, said):
    with pytest.raises(Mistake, match=said):
        EngineOptions(**options)


def test_without_its_package_ray_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"the engine ray needs Ray, .* pip install 'fsl-explain\[ray\]'\."):
        engine_for("ray", None, "run")


def test_threads_of_a_worker_are_a_share_of_the_processors(monkeypatch):
    monkeypatch.setattr("fsl_explain.engines.process.processors", lambda: 8)
    assert ProcessEngine(options=EngineOptions("process", 3)).threads == 2
    assert ProcessEngine(options=EngineOptions("process")).workers == 8
    assert ProcessEngine(options=EngineOptions("process", 16)).threads == 1
    assert ProcessEngine(options=EngineOptions("process", 2, threads=3)).threads == 3


def test_parts_can_be_pickled():
    assert pickle.loads(pickle.dumps(PARTS)) == PARTS


def test_an_engine_is_given_by_name_or_as_an_object(tmp_path):
    own = ENGINES["local"](None, "", print, EngineOptions())
    assert engine_for(own, None, "run") is own
    with pytest.raises(LookupError, match="unknown engine 'lokal'; did you mean 'local'"):
        engine_for("lokal", None, "run")
    with pytest.raises(ValueError, match=r"a folder for finished parts or an engine of your own, but got both"):
        engine_for(own, tmp_path, "run")
