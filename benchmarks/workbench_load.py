"""The workbench under load: does every client get the right answer, and what does an answer cost beside the library?

    OMP_NUM_THREADS=1 python benchmarks/workbench_load.py BANK --encoder efficientnet-lite0 --clients 20 --seconds 60

Starts a real server on BANK. First one client asks for the neighbors of images of the bank and why the first two came
back, and the same is computed by the library in this process: query embedded, bank searched, both images explained with
maps and pairs; their ratio is printed. Then many clients ask at once, each about another image, and every answer is
compared with the one that was given alone. Prints how many were right, wrong, refused for want of a place (429) or
failed, and the server's memory at the start and at the end.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import torch

from episodes import read_image
from fsl_explain import Encoder, correspondence
from fsl_explain import explain as explain_supports
from retrieval_explain import MemoryBank

SERVER = "from retrieval_explain.cli import main; main()"
SHOWN = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--queries", type=int, default=30)
    options = parser.parse_args()
    command = [
        sys.executable,
        "-c",
        SERVER,
        "serve",
        "--bank",
        options.bank,
        "--encoder",
        options.encoder,
        "--port",
        "0",
    ]
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split()[1] if server.stdout else ""
        bank, encoder = MemoryBank.load(options.bank), Encoder.named(options.encoder)
        ids = random.Random(0).sample(bank.ids.tolist(), min(options.queries, len(bank)))
        print(f"{len(bank)} images, {options.encoder}, torch with {torch.get_num_threads()} threads")
        alone = cost(address, bank, encoder, ids)
        load(address, alone, options.clients, options.seconds, server.pid)
    finally:
        server.kill()
        server.wait()


def cost(address: str, bank: MemoryBank, encoder: Encoder, ids: list[int]) -> dict[int, object]:
    """Ask about each image by turns here and there, and print the ratio; return the server's answers."""
    ours, floor, answers = [], [], {}
    asked(address, ids[0])
    by_library(bank, encoder, ids[0])
    for number in ids:
        ours.append(timed(lambda number=number: answers.__setitem__(number, asked(address, number))))
        floor.append(timed(lambda number=number: by_library(bank, encoder, number)))
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    print(
        f"query to {SHOWN} explained neighbors: workbench {1e3 * statistics.median(ours):.0f} ms, library "
        f"{1e3 * statistics.median(floor):.0f} ms, median ratio {statistics.median(ratios):.2f}"
    )
    return answers


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def asked(address: str, number: int) -> object:
    """Ask for neighbors, and why the first of them came back; return what must not change."""
    query = f"image:0:{number}"
    found = get(address, "search", query=query, k=10, leave_self_out="true")
    why = [
        get(address, "why", query=query, k=10, leave_self_out="true", id=one["id"])
        for one in found["neighbors"][:SHOWN]
    ]
    neighbors = [(one["id"], one["similarity"]) for one in found["neighbors"]]
    return json.dumps([neighbors, [(one["score"], one["query"]["cells"], one["supports"][0]["pairs"]) for one in why]])


def by_library(bank: MemoryBank, encoder: Encoder, number: int) -> None:
    """Do the same in this process: embed, search, explain with maps on both sides and pairs of cells."""
    row = int((bank.ids == number).nonzero()[0])
    query = encoder.preprocess([read_image(bank.paths[row])])[0]
    features = encoder(query[None])
    found = bank.search(features.embedding, 10, without=torch.tensor([row]))[0]
    for neighbor in found.indices[:SHOWN].tolist():
        image = encoder.preprocess([read_image(bank.paths[neighbor])])
        explanation = explain_supports(encoder, query, {"neighbor": image}, rule="nearest-neighbor")
        correspondence(explanation)
        explanation.receipt()


def get(address: str, path: str, **parameters: object) -> dict:
    url = f"{address}api/banks/0/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=600) as answer:
        return json.load(answer)


def load(address: str, alone: dict[int, object], clients: int, seconds: float, pid: int) -> None:
    """Let many clients ask at once and compare each answer with the one given alone."""
    counted: Counter[str] = Counter()
    end, before = time.monotonic() + seconds, memory(pid)
    threads = [threading.Thread(target=client, args=(address, alone, end, seed, counted)) for seed in range(clients)]
    taken: list[float] = []
    timers = [threading.Timer(seconds * part / 5, lambda: taken.append(memory(pid))) for part in range(1, 5)]
    for timer in timers:
        timer.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ("right", "wrong", "429", "failed")
    print(f"{clients} clients for {seconds:g} s: " + ", ".join(f"{counted[name]} {name}" for name in names))
    between = ", ".join(f"{one:.0f}" for one in taken)
    print(f"memory of the server in MB: {before:.0f} before, {between} at each fifth, {memory(pid):.0f} at the end")


def client(address: str, alone: dict[int, object], end: float, seed: int, counted: Counter) -> None:
    chosen = random.Random(seed)
    while time.monotonic() < end:
        number = chosen.choice(list(alone))
        try:
            counted["right" if asked(address, number) == alone[number] else "wrong"] += 1
        except urllib.error.HTTPError as error:
            counted["429" if error.code == 429 else "failed"] += 1
            time.sleep(float(error.headers.get("Retry-After", 1)) * chosen.random())
        except OSError:
            counted["failed"] += 1


def memory(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
