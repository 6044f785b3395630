"""Few-shot decisions of today beside the prototypes: accuracy, tiles of mosaics, and what an explanation costs.

    OMP_NUM_THREADS=1 python benchmarks/local_rules.py accuracy configs/live/cub10-efficientnet.toml
    OMP_NUM_THREADS=1 python benchmarks/local_rules.py mosaics configs/live/mosaics-cub10.toml --count 200
    OMP_NUM_THREADS=1 python benchmarks/local_rules.py cost efficientnet-lite0

``accuracy`` decides the same 5-way episodes of 1 and of 5 shots by every rule, from features that are made once;
``mosaics`` asks each rule which of four tiles is like the reference, by exact and contrast and by the model itself,
shown each tile alone; ``cost`` compares one explanation of a query, whose features and supports' are there, with one
forward pass of it, in processor time and in turn, and says what part of DeepEMD's is its solver.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from timed_in_turn import in_turn
from torch import Tensor

from episodes import EpisodeSampler
from fsl_explain import Encoder, explain
from fsl_explain.classifiers import RULES, Rule, StructuredDeepEMD, is_local, local_features
from fsl_explain.classifiers.local.deep_emd import DeepEMD
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.classifiers.local.transport import Transport
from fsl_explain.cli.from_settings import sizes_of
from fsl_explain.config import EvaluationConfig, MosaicsConfig, read_config
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.decided_episodes import DecidedEpisodes
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.metrics import mean_interval
from fsl_explain.registries import LEARNED_LOCAL_RULES, LOCAL_RULES

COMPARED = ("mean-similarity", "prototype", *LOCAL_RULES)
KNOWN = (*COMPARED, *LEARNED_LOCAL_RULES)
SHOTS = (1, 5)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("accuracy", "mosaics", "cost"))
    parser.add_argument("given", help="a configuration, or the name of an encoder")
    parser.add_argument("--rules", nargs="+", default=COMPARED, choices=KNOWN)
    parser.add_argument("--shots", nargs="+", type=int, default=SHOTS)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--queries", type=int, default=15, help="of each class in an episode")
    parser.add_argument("--learning-rates", nargs="+", type=float, default=(100.0,), help="of deep-emd-sfc")
    parser.add_argument("--beside", choices=KNOWN, help="the rule that the others are compared with, in pairs")
    parser.add_argument("--count", type=int, default=200, help="of mosaics")
    parser.add_argument("--heads", nargs="+", default=("none", "class-pca"))
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"accuracy": accuracy, "mosaics": mosaics, "cost": cost}[options.what](options)


def accuracy(options: argparse.Namespace) -> None:
    """Print the accuracy of each rule over the same episodes."""
    settings = read_config(Path(options.given), EvaluationConfig)
    dataset, encoder = settings.data.open(), Encoder.from_config(settings.encoder)
    store = embed_unique(local_features(encoder), dataset, range(len(dataset)), 16, lambda _: None)
    pooled = as_pooled(store, encoder)
    for shots in options.shots:
        sampler = EpisodeSampler(dataset.labels, n_way=5, n_shot=shots, n_query=options.queries, seed=0)
        drawn = list(sampler.episodes(options.episodes))
        beside = None
        for name, rule in chosen(options):
            begin = time.process_time()
            kept = store if is_local(rule) else pooled
            by = DecidedBy.of(rule, "cosine").over(kept.first)
            each = 100 * DecidedEpisodes(kept, by, 16).decide(drawn)[0].accuracy
            took = (time.process_time() - begin) / options.episodes
            words = f"{interval(each)} %, {1e3 * took:.0f} ms an episode"
            words += "" if beside is None else f", {interval(each - beside)} beside {options.beside}"
            beside = each if name == options.beside else beside
            print(f"{Path(options.given).stem}, {shots} shot, {name}: {words}", flush=True)


def chosen(options: argparse.Namespace) -> Iterator[tuple[str, Rule]]:
    """Give each rule that is asked for by its name, the one that others are compared with first."""
    for name in sorted(options.rules, key=lambda name: name != options.beside):
        rule = RULES[name]
        if not isinstance(rule, StructuredDeepEMD):
            yield name, rule
            continue
        for rate in options.learning_rates:
            yield f"{name} (learning rate {rate:g})", replace(rule, learning_rate=rate)


def interval(values: Tensor) -> str:
    """Return a mean over episodes and half of its 95 % interval."""
    found = mean_interval(values)
    return f"{found.mean:.2f} ± {found.half_width:.2f}"


def as_pooled(store: ImageStore, encoder: Encoder) -> ImageStore:
    """Return the same images as the encoder itself pools them, from their maps."""
    pooled = encoder.pooling(store.maps.permute(0, 3, 1, 2))
    with torch.no_grad():
        return replace(store, pooled=pooled, embeddings=encoder.head(pooled))


def mosaics(options: argparse.Namespace) -> None:
    """Print how often each rule's maps, and the model itself, point at the right tile."""
    settings = read_config(Path(options.given), MosaicsConfig)
    dataset, encoder = settings.data.open(), Encoder.from_config(settings.encoder)
    sizes = replace(sizes_of(settings.mosaics), count=options.count)
    for name in options.rules:
        if name == "prototype":  # of one reference a class the same as the mean similarity
            continue
        seen = encoder_for(RULES[name], encoder)
        store = embed_mosaics(seen, dataset, sizes, batch_size=8)
        chosen = ("exact", "contrast")
        found = evaluate_mosaics(store, seen.pooling, heads=options.heads, methods=chosen, rule=name, encoder=seen)
        for head, figures in found.items():
            hits = {method: shown(figures.methods[method].hit) for method in chosen}
            ceilings = f"the model itself {shown(figures.one_reference)} / {shown(figures.contrast)}"
            missed = float(figures.methods["contrast"].residual.max())
            words = ", ".join(f"{method} {hit}" for method, hit in hits.items())
            print(f"{name}, head {head}: {words}, {ceilings}, residual {missed:.0e}", flush=True)


def shown(values: Tensor) -> str:
    """Return a share in percent with half of its interval."""
    found = mean_interval(100 * values)
    return f"{found.mean:.1f} ± {found.half_width:.1f}"


def cost(options: argparse.Namespace) -> None:
    """Print what one explanation costs over one forward pass, 5-way of each number of shots."""
    torch.manual_seed(0)
    plain = Encoder.named(options.given)
    side = plain.image_size or 224
    query = torch.randn(1, 3, side, side)
    for shots in options.shots:
        images, spent = torch.randn(5 * shots, 3, side, side), [0.0]
        runs: dict[str, Callable[[], object]] = {"one forward pass": lambda: plain(query)}
        for name in options.rules:
            encoder = encoder_for(RULES[name], plain)
            runs[name] = explaining(encoder, query, encoder(images).unflatten(5, shots), name)
        taken = in_turn(list(runs.values()), options.rounds)
        for (name, _), seconds in zip(runs.items(), taken, strict=True):
            beside = seconds if name == "one forward pass" else seconds - taken[0]
            print(f"{options.given}, {shots} shot, {name}: {beside / taken[0]:.2f} ({beside:.3f} s)", flush=True)
        if "deep-emd" in options.rules:
            solved = timed_transports(spent)
            try:
                runs["deep-emd"]()
            finally:
                DeepEMD._solved = solved  # type: ignore[method-assign]
            print(f"{options.given}, {shots} shot, deep-emd's transports: {spent[0]:.3f} s", flush=True)


def explaining(encoder: Encoder, query: Tensor, supports: object, rule: str) -> Callable[[], object]:
    """Return an explanation that has its supports' features."""
    return lambda: explain(encoder, query, supports, method="contrast", rule=rule)  # type: ignore[arg-type]


def timed_transports(spent: list[float]) -> Callable[..., Transport]:
    """Add the processor time of every transport up, and return what solved them before."""
    solved = DeepEMD._solved

    def timed(*given: object) -> Transport:
        begin = time.process_time()
        found = solved(*given)  # type: ignore[arg-type]
        spent[0] += time.process_time() - begin
        return found

    DeepEMD._solved = timed  # type: ignore[method-assign, assignment]
    return solved


if __name__ == "__main__":
    main()
