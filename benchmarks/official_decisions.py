"""The decisions of the authors' and LibFewShot's own code beside ours, for the same features of photographs.

    python benchmarks/official_decisions.py configs/live/cub10-efficientnet.toml --libfewshot A --deepemd B --frn C

A, B and C are clones of LibFewShot (RL-VIG), DeepEMD (icoz69) and FRN (Tsingularity), all on GitHub and under the MIT
license; any of them may be left out. Their code is run where it lies and is no part of this project.

Compared are LibFewShot's ``DN4Layer``, ``FRNLayer``, ``ProtoLayer`` by both of its similarities, and ``RelationLayer``
with random weights; ``get_recon_dist`` of FRN; and ``emd_forward_1shot`` of DeepEMD, to the means of supports' maps, by
the solver of OpenCV (``pip install opencv-python-headless``). All is in double precision but OpenCV, which knows
single precision alone. The episodes are 5-way, of 1 and of 5 shots. Told are how many decisions differ, of how many,
and by how much the scores, in parts of their range.

Whole packages are not imported, because they need much that has nothing to do with decisions, and a graphics processor.
Four differences are the other side's own and are taken back here: ``RelationLayer`` takes the query's map first and
ends before the sigmoid, ``FRNLayer`` has maps of 25 cells, and DeepEMD's score is ours times 12.5.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from episodes import EpisodeSampler
from fsl_explain import Encoder
from fsl_explain.classifiers import RULES, RelationNetwork, SupportSet, local_features
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.heads.flatten import cells_of
from fsl_explain.registries import LOCAL_RULES
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
EMD_OPTIONS: dict[str, Any] = {"norm": "center", "metric": "cosine", "solver": "opencv", "temperature": 12.5}
Scores = Callable[[Tensor, Tensor], Tensor]  # of query maps (q, J, h, w) and support maps (way, shot, J, h, w)


def loaded(checkout: Path, package: str, names: Sequence[str], **beside: Mapping[str, Any]) -> list[ModuleType]:
    """Load some modules of a package in a checkout; ``beside`` are the members of others that they import."""
    if not (checkout / package.replace(".", "/")).is_dir():
        raise SystemExit(f"expected a clone with {package.replace('.', '/')}, but {checkout} has none; check the path.")
    parts = package.split(".")
    for above in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
        sys.modules[above] = ModuleType(above)
        sys.modules[above].__path__ = [str(checkout / above.replace(".", "/"))]
    for name, members in beside.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
    return [importlib.import_module(f"{package}.{name}") for name in names]


def of_frn(checkout: Path, shots: int) -> dict[str, tuple[Scores, Scores]]:
    """Give how the authors of FRN score, and how we do."""
    (module,) = loaded(checkout, "models", ["FRN"], **{"models.backbones": {"Conv_4": None, "ResNet": None}})
    nothing = torch.zeros((), dtype=torch.float64)

    def scores(query: Tensor, support: Tensor) -> Tensor:
        cells, theirs = query.flatten(2).mT.flatten(0, 1), support.flatten(3).mT.flatten(1, 2)
        few = theirs.shape[1] < theirs.shape[2]
        found: Tensor = module.FRN.get_recon_dist(None, cells, theirs, nothing, nothing, Woodbury=not few)
        apart: Tensor = found.unflatten(0, (len(query), -1)).mean(dim=1)
        return -apart

    del shots  # of the supports' shape
    return {"frn of its authors": (scores, ours_by("frn", SIMILARITIES["cosine"], flat))}


def of_deep_emd(checkout: Path, shots: int) -> dict[str, tuple[Scores, Scores]]:
    """Give how the authors of DeepEMD score, on a processor, and how we do."""
    (module,) = loaded(checkout, "Models.models", ["Network"], qpth={}, **{"qpth.qp": {"QPFunction": None}})
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign]
    network = module.DeepEMD.__new__(module.DeepEMD)
    torch.nn.Module.__init__(network)
    network.args = SimpleNamespace(**EMD_OPTIONS)
    network.eval()

    def scores(query: Tensor, support: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = network.emd_forward_1shot(support.float().mean(dim=1), query.float())
        score: Tensor = found.double() / EMD_OPTIONS["temperature"]
        return score

    del shots
    return {"deep-emd of its authors": (scores, ours_by("deep-emd", SIMILARITIES["cosine"], flat))}


def of_libfewshot(checkout: Path, shots: int) -> dict[str, tuple[Scores, Scores]]:
    """Give for each rule how LibFewShot scores it and how we do."""
    names = ("dn4", "frn", "proto_net", "relation_net")
    members: dict[str, Any] = {
        "core.utils": {"accuracy": None},
        "core.model.metric.metric_model": {"MetricModel": object},
    }
    modules = dict(zip(names, loaded(checkout, "core.model.metric", names, **members), strict=True))
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
        rule = rule.of_channels(query.shape[1]) if name in LOCAL_RULES else rule
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


SOURCES = {"libfewshot": of_libfewshot, "deepemd": of_deep_emd, "frn": of_frn}


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("given", type=Path, help="a configuration")
    for name in SOURCES:
        parser.add_argument(f"--{name}", type=Path, help="a clone")
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
        rules: dict[str, tuple[Scores, Scores]] = {}
        for name, pairs_of in SOURCES.items():
            checkout = getattr(options, name)
            rules |= {} if checkout is None else pairs_of(checkout, shots)
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
