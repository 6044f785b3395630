"""Eight threads on one encoder: their results against those of one thread, their throughput, and what turns cost one.

    python benchmarks/threads.py [--threads 8] [--seconds 60] [--queries 4]
    OMP_NUM_THREADS=1 python benchmarks/threads.py

The network has a layer that is explained, batch normalization and dropout, and is left in training mode, so that a
thread that met it while another was at work would get other scores. Every method, every class logit, every rule,
RELAX, the counterfactual, search and explained neighbors are asked about each query once by one thread, and again and
again by all threads, each in an order of its own; every result must be equal bit by bit. Then the requests a second
of all threads are divided by those of one thread over the same requests, and the processor time of one thread's calls
of the encoder by that of the same calls without turns.
"""

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

import retrieval_explain
from fsl_explain import Encoder, RelaxOptions, explain, relax, saliency
from fsl_explain.backbones import capture
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.explainers.methods.class_logit import FORMULAS
from fsl_explain.registries import METHODS, RULES, TOKEN_METHODS
from retrieval_explain import MemoryBank

SIDE, CHANNELS = 32, 16
Request = Callable[[], Tensor]


class Network(nn.Module):
    """Two convolutions with normalization, and a classifier with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, padding=1, stride=2),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(inplace=True),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2),
            nn.BatchNorm2d(CHANNELS),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(CHANNELS, 5))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(self.maps(images).mean(dim=(-2, -1)))
        return logits


def images(*leading: int, seed: int) -> Tensor:
    return torch.randn(*leading, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def requests_of(encoder: Encoder, queries: int) -> dict[str, Request]:
    supports, found = images(3, 2, seed=100), {}
    bank = MemoryBank.from_embeddings(encoder(images(64, seed=101)).embedding, labels=list("abcd" * 16))
    masks = RelaxOptions(masks=32, grid=4)
    for number in range(queries):
        query = images(seed=number)
        roads: dict[str, Callable[[Tensor], Tensor]] = {
            "encoder": lambda one: encoder(one[None]).embedding,
            "relax": lambda one: relax(encoder, one, options=masks).importance,
            "counterfactual": lambda one: counterfactual(encoder, one, supports).scores_before,
            "search": lambda one: bank.search(encoder(one[None]).embedding, k=5).similarities,
            "explained neighbors": lambda one: retrieval_explain.explain(encoder, one, bank, k=9).saliency,
        }
        for method in [name for name in METHODS if name not in TOKEN_METHODS]:
            options = {"threshold": 0.5} if method == "verification" else {}
            roads[f"method {method}"] = lambda one, method=method, options=options: (  # type: ignore[misc]
                explain(encoder, one, supports, method=method, **options).saliency
            )
        for rule in RULES:
            roads[f"rule {rule}"] = lambda one, rule=rule: explain(encoder, one, supports, rule=rule).exact_score  # type: ignore[misc]
        for method in FORMULAS:
            roads[f"class logit {method}"] = lambda one, method=method: saliency(encoder, one, method=method)  # type: ignore[misc]
        for name, road in roads.items():
            found[f"{name}, query {number}"] = lambda road=road, query=query: road(query)
    return found


def same(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found.nan_to_num(), expected.nan_to_num())


def in_threads(requests: dict[str, Request], expected: dict[str, Tensor], count: int, seconds: float) -> None:
    names, until = list(requests), time.perf_counter() + seconds
    differ: list[str] = []
    done = [0] * count
    per_road = dict.fromkeys(names, 0)

    def work(number: int) -> None:
        order = np.random.default_rng(number)
        while time.perf_counter() < until:
            for place in order.permutation(len(names)):
                name = names[place]
                try:
                    if not same(requests[name](), expected[name]):
                        differ.append(f"{name}: another result")
                except Exception as error:
                    differ.append(f"{name}: {type(error).__name__}: {error}")
                done[number] += 1
                per_road[name] += 1
                if time.perf_counter() >= until:
                    break

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    print(f"{count} threads, {spent:.0f} s: {sum(done)} requests of {len(names)} kinds, {len(differ)} not equal")
    print(f"  requests of a thread from {min(done)} to {max(done)}, of a kind from {min(per_road.values())}")
    for text in sorted(set(differ))[:10]:
        print(f"  {text}")
    together, alone = rate(requests, count), rate(requests, 1)
    print(f"requests a second, {count} threads : one = {together:.1f} : {alone:.1f} = {together / alone:.2f}")


def rate(requests: dict[str, Request], count: int) -> float:
    """Let the threads share one round of all requests; return requests a second."""
    queue, took = iter(list(requests.values())), threading.Lock()

    def work() -> None:
        while True:
            with took:
                request = next(queue, None)
            if request is None:
                return
            request()

    threads = [threading.Thread(target=work) for _ in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(requests) / (time.perf_counter() - began)


@contextmanager
def without_turns() -> Iterator[None]:
    @contextmanager
    def free(_things: object) -> Iterator[None]:
        yield

    with mock.patch.object(capture, "alone", free):
        yield


def cost_of_turns(name: str, encoder: Encoder, batch: Tensor, repeats: int) -> None:
    def spent() -> float:
        began = time.process_time()
        for _ in range(repeats):
            encoder(batch)
        return time.process_time() - began

    spent()
    ratios = []
    for _, order in zip(range(11), itertools.cycle([0, 1]), strict=False):
        times = {}
        for with_turns in ((True, False), (False, True))[order]:
            if with_turns:
                times[True] = spent()
            else:
                with without_turns():
                    times[False] = spent()
        ratios.append(times[True] / times[False])
    print(f"one thread, with turns : without = {statistics.median(ratios):.3f} ({name})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--queries", type=int, default=4)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = Network().train()
    encoder = Encoder.wrap(network, "maps", head=nn.Linear(CHANNELS, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    requests = requests_of(encoder, options.queries)
    expected = {name: request() for name, request in requests.items()}
    in_threads(requests, expected, options.threads, options.seconds)
    kept = all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    at_rest = all(module.training for module in network.modules())
    hooks = sum(len(module._forward_hooks) for module in network.modules())
    print(f"network as it was: weights and statistics {kept}, modes {at_rest}, hooks left {hooks}")
    cost_of_turns("the network above, one image", encoder, images(1, seed=1), 300)
    cost_of_turns("ResNet-18 at 84×84, one image", Encoder.named("resnet18"), torch.randn(1, 3, 84, 84), 5)


if __name__ == "__main__":
    main()
