import math

import pytest
import torch
from torch import nn

from fsl_explain.heads import POOLINGS, L2Normalize, LogSumExpPooling, linearize


def test_tied_maxima_split_their_value_evenly():
    maps = torch.tensor([[[2.0, 1.0], [2.0, -1.0]]])
    assert POOLINGS["gmp"].shares(maps).tolist() == [[[1.0, 0.0], [1.0, 0.0]]]


def test_log_sum_exp_of_two_levels_is_known():
    maps = torch.tensor([[[0.0, 1.0]]], dtype=torch.float64)
    assert float(LogSumExpPooling(r=2.0)(maps)) == pytest.approx(math.log((1 + math.exp(2)) / 2) / 2)


@pytest.mark.parametrize("r", [0.0, -1.0, math.inf, math.nan])
def test_log_sum_exp_needs_a_sharpness_above_zero(r):
    with pytest.raises(ValueError, match=rf"log-sum-exp pooling needs a finite r above 0, but got {r}"):
        LogSumExpPooling(r)


@pytest.mark.parametrize("layer", [nn.Tanh(), nn.GELU(), nn.LayerNorm(3)], ids=lambda layer: type(layer).__name__)
def test_a_layer_without_frozen_gains_is_refused_by_name(layer):
    kind = type(layer).__name__
    sentence = rf"expected a head made of Linear, L2Normalize, .* but got {kind}; register it .* or use method='lafam'"
    with pytest.raises(ValueError, match=sentence):
        linearize(nn.Sequential(nn.Linear(3, 3), layer), torch.ones(2, 3))


def test_batch_normalization_needs_running_statistics():
    head = nn.BatchNorm1d(3, track_running_stats=False)
    with pytest.raises(
        ValueError, match="expected a BatchNorm1d head with running statistics, but got one that tracks"
    ):
        linearize(head, torch.ones(2, 3))


def test_normalized_embeddings_have_norm_one():
    values = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    assert L2Normalize()(values).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, -1]]
