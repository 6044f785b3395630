"""Work on a Ray cluster of three nodes in one machine, while processes, nodes and drivers are killed.

    python benchmarks/ray_cluster.py --data ../shared/data/tiny_imagenet_boxes [--only build relax]
    python benchmarks/ray_cluster.py --data ../shared/data/tiny_imagenet_boxes --overhead [--repeats 2]

The nodes have one processor each, in network namespaces of their own (root and ``ip``). The work: a bank of 1,600
photographs, 200 episodes, and RELAX of 20 photographs, with a small random Conv4Net of one thread. Each is done once
locally and then on the cluster: undisturbed; with a worker killed by SIGKILL; with a node removed, all of its processes
at once; and with the driver killed and started again. What comes out is compared with the local result by the hash of
every number. ``--overhead`` does RELAX with two workers by the engines process and ray, beside local, and measures what
a part costs that does nothing; then it says by arithmetic what 100 nodes would give.
"""

import argparse
import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from cluster_nodes import Nodes, possible

from episodes import CsvBoxes, EpisodeSampler, LabeledImage, LabeledImages
from fsl_explain import Encoder, RelaxOptions
from fsl_explain.engine import EngineChoice, EngineOptions, Part, engine_for
from fsl_explain.evaluation import evaluate_episodes
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.measurement import tensors_of
from fsl_explain.freed_memory import keep_freed_memory
from fsl_explain.progress import Report
from retrieval_explain import MemoryBank
from retrieval_explain.store import writer

EPISODES, RELAXED, BATCH = 200, 20, 16
MASKS = int(os.environ.get("MASKS", "500"))  # of RELAX
WORK = ("build", "episodes", "relax")
EVENTS = ("undisturbed", "a worker killed", "a node removed", "the driver killed")
LABEL = "wnid"  # the column of the class
STAGES = {"build": "embed", "episodes": "explaining episodes", "relax": "comparing maps"}
AT = {"build": 320, "episodes": 50, "relax": 4}  # done, of 1,600, 200 and 20, before something is killed
writer.PIECE_SECONDS = 1.0  # a bank is kept every second, so that a killed driver of seconds leaves something


class Some:
    """Some images of a data set."""

    def __init__(self, dataset: LabeledImages, chosen: Sequence[int]) -> None:
        self.dataset, self.chosen = dataset, chosen
        self.name, self.classes, self.labels = dataset.name, dataset.classes, dataset.labels[list(chosen)]
        self.paths = [dataset.paths[position] for position in chosen]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, position: int, /) -> LabeledImage:
        return self.dataset[self.chosen[position]]


def work(what: str, data: Path, out: Path, engine: EngineChoice, report: Report) -> dict[str, torch.Tensor]:
    """Do one piece of work and return every number of it."""
    dataset, encoder = CsvBoxes(data, label=LABEL), Encoder.named("conv4net", channels=32, size=64, seed=0)
    if what == "build":
        bank = MemoryBank.build(
            encoder, dataset, directory=out / "bank", batch_size=BATCH, resume=True, engine=engine, report=report
        )
        return {"rows": bank.rows.read(0, len(bank)), "labels": bank.labels, "ids": bank.ids}
    partial = out / "partial"
    if what == "episodes":
        sampler = EpisodeSampler(dataset.labels, n_way=5, n_shot=1, n_query=15, seed=0)
        values = {"sampler": sampler, "episodes": EPISODES, "methods": ["contrast"], "batch_size": BATCH}
        return tensors_of(evaluate_episodes(encoder, dataset, partial=partial, engine=engine, report=report, **values))
    relax = RelaxOptions(masks=MASKS, batch_size=32)
    found = compare_label_free(
        encoder,
        Some(dataset, range(0, len(dataset), len(dataset) // RELAXED)),
        sample=RELAXED,
        relax=relax,
        batch_size=BATCH,
        partial=partial,
        engine=engine,
        report=report,
        figures=["proportion"],
    )
    return dict(found.figures)


def digest(found: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(name.encode() + found[name].contiguous().numpy().tobytes())
    return total.hexdigest()


def do(what: str, data: Path, out: Path, engine: str, workers: int | None) -> None:
    """Do the work as a driver; progress and the result go to files, which the one who watches reads."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command lines and all workers do
    counted = {"done": 0}

    def report(stage: str, done: int, _total: int) -> None:
        if stage == STAGES[what]:
            counted["done"] += done
            (out / "done").write_text(str(counted["done"]))

    start = time.perf_counter()
    found = work(what, data, out, EngineOptions(engine, workers, 1), report)
    result = {"seconds": time.perf_counter() - start, "digest": digest(found)}
    (out / "result.json").write_text(json.dumps(result))


def driver(what: str, data: Path, out: Path, engine: str, workers: int | None = None) -> list[str]:
    given = ["--work", what, "--data", str(data), "--out", str(out), "--engine", engine]
    return [sys.executable, __file__, *given, *(["--workers", str(workers)] if workers else [])]


def wait_for(out: Path, done: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until so much is done; False where the driver ended before."""
    path = out / "done"
    while process.poll() is None:
        if path.is_file() and int(path.read_text() or 0) >= done:
            return True
        time.sleep(0.02)
    return False


def on_cluster(nodes: Nodes, what: str, event: str, data: Path, out: Path) -> dict[str, object]:
    """Do the work on the cluster while something happens to it."""
    start = time.perf_counter()
    command = nodes.within(0, driver(what, data, out, "ray"))
    log = (out / "log.txt").open("wb")
    process = subprocess.Popen(command, env=nodes.environment, stdout=log, stderr=log)
    happened = "nothing"
    if event != EVENTS[0]:
        if not wait_for(out, AT[what], process):
            raise SystemExit(f"the driver ended too early: {(out / 'log.txt').read_text()[-3000:]}")
        at = (out / "done").read_text()
        if event == EVENTS[1]:
            victims = [one for number in (1, 2, 0) for one in nodes.processes(number, "ray::Worker")]
            os.kill(victims[0], signal.SIGKILL)
            happened = f"at {at}"
        elif event == EVENTS[2]:
            nodes.remove(2)
            happened = f"at {at}"
        else:
            process.kill()
            process.wait()
            kept = len(list((out / "partial").glob("*.safetensors")))
            happened = f"at {at}, {kept} shards kept" if kept else f"at {at}"
            process = subprocess.Popen(command, env=nodes.environment, stdout=log, stderr=log)
    process.wait(timeout=900)
    if event == EVENTS[2]:
        nodes.start(2)
    if process.returncode:
        raise SystemExit(f"the driver failed: {(out / 'log.txt').read_text()[-3000:]}")
    result = json.loads((out / "result.json").read_text())
    lost = (out / "log.txt").read_text().count("A worker was lost")
    return result | {"all_seconds": time.perf_counter() - start, "happened": happened, "lost": lost}


def locally(what: str, data: Path, out: Path, engine: str = "local", workers: int | None = None) -> dict[str, float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    subprocess.run(driver(what, data, out, engine, workers), check=True, env=environment, stderr=subprocess.DEVNULL)
    found: dict[str, float] = json.loads((out / "result.json").read_text())
    return found


def disturbed(data: Path, which: list[str], folder: Path) -> None:
    why = possible()
    if why:
        raise SystemExit(f"{why}; this benchmark puts each node into one.")
    print("| work | event | killed | workers lost | seconds | : local | equal to local |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with Nodes() as nodes:
        for what in which:
            (folder / what).mkdir()
            local = locally(what, data, folder / what)
            print(f"| {what} | local, one process | | | {local['seconds']:.1f} | 1 | |", flush=True)
            for number, event in enumerate(EVENTS):
                out = folder / f"{what}-{number}"
                out.mkdir()
                found = on_cluster(nodes, what, event, data, out)
                ratio = found["all_seconds"] / local["seconds"]
                equal = "yes" if found["digest"] == local["digest"] else "NO"
                print(
                    f"| {what} | {event} | {found['happened']} | {found['lost']} | {found['all_seconds']:.1f} "
                    f"| {ratio:.2f} | {equal} |",
                    flush=True,
                )


class Nothing:
    """Work that does nothing."""

    def __call__(self, _: Part) -> dict[str, torch.Tensor]:
        """Return next to nothing."""
        return {"z": torch.zeros(1)}


def overhead(data: Path, folder: Path, repeats: int) -> None:
    """Compare engines of two workers, and say what 100 nodes would give."""
    took: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for engine, workers in (("local", None), ("process", 2), ("ray", 2)):
            out = folder / f"overhead-{engine}-{repeat}"
            out.mkdir()
            took.setdefault(engine, []).append(locally("relax", data, out, engine, workers)["seconds"])
    best = {engine: min(seconds) for engine, seconds in took.items()}
    for engine, seconds in best.items():
        print(f"RELAX of {RELAXED}, {engine}: {seconds:.1f} s, {seconds / best['local']:.2f} of local")
    print(f"ray : process with two workers = {best['ray'] / best['process']:.2f}")
    costs = {}
    for engine in ("process", "ray"):
        running = engine_for(EngineOptions(engine, 2, 1), None, "")
        parts = [Part(str(number), {}) for number in range(500)]
        start = time.perf_counter()
        list(running.map(Nothing, parts[:2]))
        begun = time.perf_counter() - start
        start = time.perf_counter()
        list(running.map(functools.partial(Nothing), parts))
        costs[engine] = (time.perf_counter() - start) / len(parts)
        print(f"{engine}: {begun:.1f} s until two workers have begun, {1000 * costs[engine]:.2f} ms a part", flush=True)
    arithmetic(best["local"] / RELAXED, costs["ray"])


def arithmetic(part: float, cost: float, images: int = 10_000) -> None:
    """Say what many nodes would give: every node one part at a time, and the driver one part after the other."""
    print(f"\nArithmetic, not measured: RELAX of {images} images, a part of {part:.2f} s, and {1000 * cost:.2f} ms of")
    print(
        "the driver for each. The time is the larger of two: (parts / workers, rounded up) × a part, and parts × that."
    )
    for nodes in (1, 10, 100, 1000):
        seconds = max(-(-images // nodes) * part, images * cost)
        print(f"  {nodes:5} workers: {seconds:9.0f} s, {images * part / seconds:6.1f} times one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with annotations.csv and images")
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--overhead", action="store_true", help="only compare the engines")
    parser.add_argument("--repeats", type=int, default=2, help="of each engine; the fastest counts")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--engine", default="local", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        do(given.work, given.data, given.out, given.engine, given.workers)
        return
    folder = Path(tempfile.mkdtemp(prefix="fsl-cluster-"))
    try:
        overhead(given.data, folder, given.repeats) if given.overhead else disturbed(given.data, given.only, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
