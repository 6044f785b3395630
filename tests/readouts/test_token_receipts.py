"""Token networks of four libraries: every readout's cells, channels and supports each add up to the score."""

import jaxtyping
import pytest
import torch
from token_networks import NETWORKS, PAIRS, readouts_of, token_encoder, token_images

from fsl_explain import correspondence, explain
from fsl_explain.registries import LOCAL_RULES

PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-5}
RULES = ("mean-similarity", "nearest-neighbor", "knn-vote", "prototype", *LOCAL_RULES)
SIMILARITIES = ("cosine", "inner-product", "euclidean")
SHOTS = {"a": 2, "b": 1, "c": 2}
every_pair = pytest.mark.parametrize(("name", "readout"), PAIRS)


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """One test below checks the shapes of the same calls; here the checks would take most of the time."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def ragged_supports(dtype=torch.float64):
    return {name: token_images(shots, seed=20 + at, dtype=dtype) for at, (name, shots) in enumerate(SHOTS.items())}


def absolute_terms(explanation):
    """Σ|cells| + Σ|named| + |the rest of the bias|."""
    rest = explanation.bias - sum(explanation.named.values())
    parts = torch.stack([rest, *explanation.named.values()]).double().abs().sum(dim=0)
    return explanation.cells.double().abs().sum(dim=(-2, -1)) + parts


def sums(explanation):
    """Each way to add up the score, with the sum of its absolute terms."""
    bias, support_bias = explanation.bias.double(), explanation.support_bias.double()
    on_supports = explanation.support_cells.double()
    across = tuple(range(-4, 0))
    addends = torch.stack([explanation.support_shares, explanation.support_biases])
    constants = sum(explanation.constants.values(), torch.zeros_like(bias))
    return {
        "channels": (explanation.contributions.double().sum(-1) + bias, explanation.absolute_sum.double()),
        "cells": (explanation.cells.double().sum(dim=(-2, -1)) + bias, absolute_terms(explanation)),
        "support cells": (
            on_supports.nansum(across) + support_bias,
            on_supports.abs().nansum(across) + support_bias.abs(),
        ),
        "supports": (addends.sum(dim=(0, -2, -1)) + constants, addends.abs().sum(dim=(0, -2, -1)) + constants.abs()),
        "similarities": (
            (explanation.support_weights * explanation.similarities).nansum(dim=(-2, -1)) + constants,
            addends.abs().sum(dim=(0, -2, -1)) + constants.abs(),
        ),
    }


def assert_adds_up(explanation, tolerance):
    score = explanation.exact_score
    for way, (total, absolute) in sums(explanation).items():
        assert ((total - score).abs() <= tolerance * absolute).all(), (explanation.method, way, total, score)
    across = explanation.contributions.double().sum(dim=-1) - explanation.cells.double().sum(dim=(-2, -1))
    assert (across.abs() <= tolerance * absolute_terms(explanation)).all()
    assert not explanation.cells.requires_grad


@pytest.mark.parametrize("dtype", PRECISIONS)
@every_pair
def test_a_contrast_adds_up(name, readout, dtype):
    encoder = token_encoder(name, readout, dtype)
    found = explain(encoder, token_images(2, dtype=dtype), ragged_supports(dtype), method="contrast")
    assert found.cells.shape == (2, 4, 4)
    assert_adds_up(found, PRECISIONS[dtype])


@every_pair
def test_the_parts_with_a_name_are_parts_of_the_bias(name, readout):
    encoder = token_encoder(name, readout)
    found = explain(encoder, token_images(), ragged_supports(), method="exact")
    expected = set() if readout == "mean" else {"biases"}
    if readout in ("class", "class-direct", "class+mean"):
        expected |= {"class token"}
    assert expected <= set(found.named)
    registers = readout not in ("mean", "attention-pool") and ("registers" in name or "dinov3" in name)
    assert ("registers" in found.named) == registers
    followed = len(encoder.tokens.parts.blocks) if readout == "class-direct" else 0
    assert sum(part.startswith("MLP") for part in found.named) == followed
    assert ("class token before" in found.named) == (readout == "class-last")
    assert all(float(value) != 0 for value in found.named.values())
    text = str(found.receipt())
    assert all(named in text for named in found.named)


OF_ONE = ("timm registers", "timm siglip", "transformers dinov2 with classes", "open_clip vit")
METHODS = ("exact", "contrast", "log-probability")


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("readout", ["class", "class-direct", "class-last", "class+mean", "mean"])
def test_every_rule_and_similarity_adds_up(readout, rule, similarity):
    if rule in LOCAL_RULES and readout != "mean":
        with pytest.raises(ValueError, match="compare the patches' own tokens, but this encoder reads out"):
            explain(token_encoder("timm registers", readout), token_images(2), ragged_supports(), rule=rule)
        return
    encoder, supports = token_encoder("timm registers", readout), ragged_supports()
    for method in METHODS:
        more = {"scale": 3.0} if method == "log-probability" else {}
        choice = {"rule": rule, "similarity": similarity, "method": method}
        assert_adds_up(explain(encoder, token_images(2), supports, **choice, **more), 1e-10)


@pytest.mark.parametrize(("name", "readout"), [(name, readout) for name in OF_ONE for readout in readouts_of(name)])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_a_table_of_cells_has_the_cells_at_its_margins(name, readout, similarity):
    """Rows of all supports sum to the query's cells, columns to each support's, all entries to w_k S_k."""
    encoder = token_encoder(name, readout)
    found = explain(encoder, token_images(), ragged_supports(), method="contrast", similarity=similarity)
    rows = torch.zeros(4, 4, dtype=torch.float64)
    size = absolute_terms(found)
    for label, shots in enumerate(SHOTS.values()):
        for shot in range(shots):
            table = correspondence(found, label=label, shot=shot)
            on_query, on_support = table.cells
            assert (on_support - found.support_cells[label, shot]).abs().max() <= 1e-10 * size
            addend = found.support_weights[label, shot] * found.similarities[label, shot]
            assert (table.table.sum() - addend).abs() <= 1e-10 * size
            rows += on_query
    assert (rows - found.cells).abs().max() <= 1e-10 * size


def test_shapes_are_as_they_are_annotated(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", False)
    for readout in readouts_of("timm registers"):
        found = explain(token_encoder("timm registers", readout), token_images(2), token_images(2, 2, seed=1))
        assert_adds_up(found, 1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_readout_is_the_networks_own(name):
    """What the network computes for its classifier, or gives back, is the embedding."""
    network = token_encoder(name).network
    encoder = token_encoder(name)
    images = token_images(2)
    with torch.no_grad():
        output = network(images)
    if name.startswith("timm"):
        with torch.no_grad():
            own = network.forward_head(network.forward_features(images), pre_logits=True)
        own = own[0] if isinstance(own, tuple) else own
        if name == "timm distilled":
            own = network.forward_features(images)[:, :2].mean(dim=1)
    elif "classes" in name or name == "torchvision vit":
        own, layer = [], network.classifier if "classes" in name else network.heads
        layer.register_forward_pre_hook(lambda _, given: own.append(given[0]))
        with torch.no_grad():
            network(images)
        own = own[0]
    elif name == "open_clip vit":
        own = output
    else:
        own = output.image_embeds if "projected" in name else output.pooler_output
    torch.testing.assert_close(encoder(images).embedding, own, rtol=1e-10, atol=1e-10)
