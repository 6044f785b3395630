"""The decisions of LibFewShot's own layers beside ours, for the same features of photographs.

    python benchmarks/libfewshot_decisions.py configs/live/cub10-efficientnet.toml --libfewshot CLONE

CLONE is a clone of LibFewShot (RL-VIG on GitHub, MIT), whose code is run where it lies and is no part of this project.
Compared are its ``DN4Layer``, ``FRNLayer``, ``ProtoLayer`` by both of its similarities, and ``RelationLayer`` with
random weights, in double precision, over the same 5-way episodes of 1 and of 5 shots: how many decisions differ, of how
many, and by how much the scores, in parts of their range. Its packages are not imported as a whole, because they need
packages that have nothing to do with these layers. Three differences are the layers' own and are taken back here:
``RelationLayer`` takes the query's map first and ends before the sigmoid, and ``FRNLayer`` has maps of 25 cells.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from episodes import EpisodeSampler
from fsl_explain import Encoder
from fsl_explain.classifiers import RULES, RelationNetwork, SupportSet, local_features
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.heads.flatten import cells_of
from fsl_explain.similarities import SIMILARITIES

WAY = 5
SHOTS = (1, 5)
RELATION_CHANNELS = 64  # of the maps that a relation layer compares; here the first of the network's, enlarged
RELATION_SIDE = 19
NAMES = {
    **{f"layers.{4 * n}": f"layer{n + 1}.0" for n in range(2)},
    **{f"layers.{4 * n + 1}": f"layer{n + 1}.1" for n in range(2)},
    "fc.0": "fc1",
    "fc.2": "fc2",
}
Scores = Callable[[Tensor, Tensor], Tensor]  # of query maps (q, J, h, w) and support maps (way, shot, J, h, w)


def layers_of(checkout: Path) -> dict[str, ModuleType]:
    """Load the modules of the layers alone."""
    if not (checkout / "core/model/metric").is_dir():
        raise SystemExit(f"expected a clone of LibFewShot, but {checkout}/core/model/metric is not there.")
    for name in ("core", "core.model", "core.model.metric"):
        package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    nothing: dict[str, Any] = {"accuracy": None, "ModelType": None}
    for name, members in {"core.utils": nothing, "core.model.metric.metric_model": {"MetricModel": object}}.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    return {
        name: importlib.import_module(f"core.model.metric.{name}")
        for name in ("dn4", "frn", "proto_net", "relation_net")
    }


def pairs_of(modules: dict[str, ModuleType], shots: int) -> dict[str, tuple[Scores, Scores]]:
    """Give for each rule how LibFewShot scores it and how we do."""
    generator = torch.Generator().manual_seed(0)
    frn = modules["frn"].FRNLayer().double()
    relation = modules["relation_net"].RelationLayer(RELATION_CHANNELS).double().eval()
    for name, value in relation.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        value.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else 0.1 * drawn)

    def frn_scores(query: Tensor, support: Tensor) -> Tensor:
        frn.resolution = query.shape[-1] * query.shape[-2]
        cells = query.flatten(2).mT.flatten(0, 1)[None]
        theirs = support.flatten(3).mT.flatten(1, 2)[None]
        with torch.no_grad():
            found: Tensor = frn.get_neg_l2_dist(theirs, cells, WAY, shots, len(query) // WAY)[0]
        return found

    def relation_scores(query: Tensor, support: Tensor) -> Tensor:
        ours, theirs = enlarged(query), enlarged(support.flatten(0, 1)).unflatten(0, support.shape[:2]).sum(dim=1)
        pairs = torch.cat([ours[:, None].expand(-1, WAY, -1, -1, -1), theirs.expand(len(ours), -1, -1, -1, -1)], dim=2)
        with torch.no_grad():
            found: Tensor = relation(pairs.flatten(0, 1)).reshape(-1, WAY).sigmoid()
        return found

    def pooled(mode: str) -> Scores:
        layer = modules["proto_net"].ProtoLayer()

        def scores(query: Tensor, support: Tensor) -> Tensor:
            means = support.mean(dim=(-2, -1)).flatten(0, 1)[None]
            found: Tensor = layer(query.mean(dim=(-2, -1))[None], means, WAY, shots, len(query) // WAY, mode)[0]
            return found

        return scores

    def dn4_scores(query: Tensor, support: Tensor) -> Tensor:
        found: Tensor = modules["dn4"].DN4Layer(3)(
            query[None], support.flatten(0, 1)[None], WAY, shots, len(query) // WAY
        )[0]
        return found

    weights = {
        f"{NAMES[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value
        for name, value in relation.state_dict().items()
    }
    first = weights["layer1.0.weight"]
    weights["layer1.0.weight"] = torch.cat([first[:, RELATION_CHANNELS:], first[:, :RELATION_CHANNELS]], dim=1)
    module = RelationNetwork(weights, shots)
    return {
        "dn4": (dn4_scores, ours_by("dn4", SIMILARITIES["cosine"], flat)),
        "frn": (frn_scores, ours_by("frn", SIMILARITIES["cosine"], flat)),
        "prototype, euclidean": (pooled("euclidean"), ours_by("prototype", SIMILARITIES["euclidean"], averaged)),
        "prototype, cosine": (pooled("cos_sim"), ours_by("prototype", SIMILARITIES["cosine"], averaged)),
        "relation-network": (
            relation_scores,
            ours_by("relation-network", module, lambda maps: enlarged(maps).flatten(1)),
        ),
    }


def ours_by(name: str, similarity: Any, embedded: Callable[[Tensor], Tensor]) -> Scores:
    """Score by a rule of this project."""

    def scores(query: Tensor, support: Tensor) -> Tensor:
        rule: Any = RULES[name]
        rule = rule.of_channels(query.shape[1]) if name in ("dn4", "frn") else rule
        theirs = embedded(support.flatten(0, 1)).unflatten(0, support.shape[:2])
        supports = SupportSet(theirs, torch.ones(support.shape[:2], dtype=torch.bool), tuple("abcde"))
        found: Tensor = rule.class_scores(embedded(query), supports, similarity)
        return found

    return scores


def flat(maps: Tensor) -> Tensor:
    """Return local features as our rules take them."""
    return maps.flatten(1)


def averaged(maps: Tensor) -> Tensor:
    """Return maps averaged over their cells."""
    return maps.mean(dim=(-2, -1))


def enlarged(maps: Tensor) -> Tensor:
    """Return maps of the size that the relation layer was made for."""
    few = maps[:, :RELATION_CHANNELS]
    return torch.nn.functional.interpolate(few, size=(RELATION_SIDE, RELATION_SIDE), mode="bilinear")


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", type=Path, help="a configuration")
    parser.add_argument("--libfewshot", type=Path, required=True, help="a clone of LibFewShot")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--queries", type=int, default=15, help="of each class in an episode")
    options = parser.parse_args()
    settings = read_config(options.given, EvaluationConfig)
    dataset, encoder = settings.data.open(), local_features(Encoder.from_config(settings.encoder))
    store = embed_unique(encoder, dataset, range(len(dataset)), 16, lambda _: None)
    maps = store.maps.permute(0, 3, 1, 2)
    assert torch.equal(cells_of(flat(maps), maps.shape[1]), maps.flatten(2).mT)
    for shots in SHOTS:
        sampler = EpisodeSampler(dataset.labels, n_way=WAY, n_shot=shots, n_query=options.queries, seed=0)
        rules = pairs_of(layers_of(options.libfewshot), shots)
        different = dict.fromkeys(rules, 0)
        apart = dict.fromkeys(rules, 0.0)
        decisions = 0
        for episode in sampler.episodes(options.episodes):
            support = maps[store.row_of[torch.from_numpy(episode.support)]].double()
            query = maps[store.row_of[torch.from_numpy(episode.query).flatten()]].double()
            decisions += len(query)
            for name, (theirs, ours) in rules.items():
                one, other = theirs(query, support), ours(query, support)
                different[name] += int((one.argmax(dim=1) != other.argmax(dim=1)).sum())
                apart[name] = max(apart[name], float((one - other).abs().max() / (one.max() - one.min())))
        for name in rules:
            print(
                f"{shots} shot, {name}: {different[name]} of {decisions} decisions differ, scores by {apart[name]:.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
