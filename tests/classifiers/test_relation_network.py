"""Relation Network: its decisions are those of the published forward pass, and its maps add up to the relation."""

import pytest
import torch
from conftest import SHARED
from references.relation_network import CNNEncoder, RelationModule, relations

from episodes import CsvBoxes, EpisodeSampler
from fsl_explain import Encoder, Mistake, RelationNetwork, explain
from fsl_explain.evaluation.episodes import accuracy_over_episodes
from fsl_explain.explainers.methods.integrated import AT_ZERO

PUBLISHED = SHARED / "weights" / "relationnet_conv64f"


def shaken(module, seed):
    """Random weights and statistics, none of them trivial."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            scale = value.shape[1:].numel() ** -0.5 if value.dim() > 1 else 0.3
            value.copy_(noise.abs() + 0.5 if name.endswith(("running_var", ".1.weight")) else noise * scale)
    return module.eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The encoder and the module, by the reference and by the library, from the same two files."""
    folder = tmp_path_factory.mktemp("relation")
    slow = shaken(CNNEncoder(), 0), shaken(RelationModule(), 1)
    for name, module in zip(("encoder", "relation"), slow, strict=True):
        state = {key: value for key, value in module.state_dict().items() if "num_batches" not in key}  # as published
        torch.save(state, folder / f"{name}.pkl")
    encoder = Encoder.named("conv64f", checkpoint=folder / "encoder.pkl", pooling="flatten")
    return slow, encoder, folder / "relation.pkl"


def pictures(*leading, seed=0):
    return torch.randn(*leading, 3, 84, 84, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shots", [1, 5])
def test_relations_are_those_of_the_published_forward_pass(made, shots):
    slow, encoder, path = made
    query, supports = pictures(2, seed=1), pictures(3, shots, seed=2)
    with torch.no_grad():
        expected = relations(*slow, supports, query)
    found = explain(
        encoder, query, supports, rule="prototype", similarity=RelationNetwork.load(path, shots), method="lafam"
    )
    assert torch.allclose(found.decision.scores, expected, atol=1e-5)
    assert found.decision.scores.std() > 1e-3


@pytest.mark.parametrize("rule", ["prototype", "mean-similarity"])
def test_maps_of_both_sides_add_up(made, rule):
    _, encoder, path = made
    similarity = RelationNetwork.load(path, 2 if rule == "prototype" else 1)
    supports = pictures(2, 2, seed=2)
    for method in ("exact", "contrast"):
        found = explain(encoder, pictures(seed=1), supports, rule=rule, similarity=similarity, method=method)
        assert found.contributions.shape == (64,)
        assert found.cells.shape == (19, 19)
        assert found.support_cells.shape == (2, 2, 19, 19)
        assert found.residual <= 5e-4 * found.absolute_sum  # random ReLUs: 512 steps end short of 1e-5, and say so
        left = found.support_cells.double().nansum() + found.support_bias - found.score
        assert left.abs() <= 1e-3 * (found.support_cells.double().abs().nansum() + found.support_bias.abs())
        assert found.receipt().residual == pytest.approx(float(found.residual), abs=1e-5)
        text = str(found.receipt())
        assert f"integrated, {int(found.query.steps)} steps" in text
        assert AT_ZERO in text


def test_leading_dimensions_and_single_pairs_agree(made):
    similarity = RelationNetwork.load(made[2])
    maps = torch.rand(4, 3, 64 * 19 * 19, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = similarity.pairwise(maps[:, :2], maps[:, 1:])
    alone = torch.stack([similarity.pairwise(maps[i, :2], maps[i, 1:]) for i in range(4)])
    assert together.dtype == torch.float64
    assert torch.allclose(together, alone, atol=1e-6)
    crossed = similarity.pairwise(maps[:, :1], maps[:1, 1:])
    assert torch.allclose(crossed[2], similarity.pairwise(maps[2, :1], maps[0, 1:]), atol=1e-6)


def test_other_files_and_embeddings_are_refused(made, tmp_path):
    path = made[2]
    torch.save(CNNEncoder().state_dict(), tmp_path / "encoder.pkl")
    with pytest.raises(
        Mistake,
        match=r"expected a relation module in .*encoder.pkl, but it has no (layer1.0|fc1).weight",
    ):
        RelationNetwork.load(tmp_path / "encoder.pkl")
    with pytest.raises(Mistake, match="expected at least one shot, but got 0"):
        RelationNetwork.load(path, 0)
    with pytest.raises(Mistake, match=r"expected flattened square maps of 64 channels, .* embeddings of 64 numbers"):
        RelationNetwork.load(path).pairwise(torch.ones(1, 64), torch.ones(1, 64))


def test_published_weights_decide_photographs_above_chance(tiny_imagenet_boxes):
    if not PUBLISHED.is_dir():
        pytest.skip("the published weights do not stand beside this checkout")
    encoder = Encoder.named(
        "conv64f", checkpoint=PUBLISHED / "miniimagenet_feature_encoder_5way_5shot.pkl", pooling="flatten"
    )
    similarity = RelationNetwork.load(PUBLISHED / "miniimagenet_relation_network_5way_5shot.pkl", 5)
    photographs = CsvBoxes(tiny_imagenet_boxes, label="wnid")
    sampler = EpisodeSampler(photographs.labels, n_way=5, n_shot=5, n_query=2)
    accuracy = accuracy_over_episodes(
        encoder, photographs, sampler=sampler, episodes=10, rule="prototype", similarity=similarity
    )
    assert float(accuracy.mean()) > 0.35
