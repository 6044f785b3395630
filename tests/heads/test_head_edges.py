import math

import pytest
import torch
from torch import nn

from fsl_explain.heads import POOLINGS, Center, GeneralizedMeanPooling, L2Normalize, LogSumExpPooling, linearize


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


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["p", "eps"])
def test_generalized_mean_needs_a_power_and_a_floor_above_zero(name, value):
    with pytest.raises(ValueError, match=rf"generalized-mean pooling needs a finite {name} above 0, but got {value}"):
        GeneralizedMeanPooling(**{name: value})


def test_the_generalized_mean_of_two_levels_is_known():
    maps = torch.tensor([[[1.0, 3.0], [-5.0, 0.0]]], dtype=torch.float64)
    assert float(GeneralizedMeanPooling(p=2.0)(maps)) == pytest.approx(math.sqrt(10 / 4))
    assert GeneralizedMeanPooling(p=2.0).shares(maps)[0, 0].tolist() == pytest.approx(
        [math.sqrt(10 / 4) / 10, math.sqrt(10 / 4) * 9 / 10]
    )


@pytest.mark.parametrize("layer", [nn.Softmax(-1), nn.Softmin(-1), nn.GLU()], ids=lambda layer: type(layer).__name__)
def test_a_layer_without_frozen_gains_is_refused_by_name(layer):
    kind = type(layer).__name__
    sentence = rf"expected a head made of BatchNorm1d, Center, .* but got {kind}; register it .* or use method='lafam'"
    with pytest.raises(ValueError, match=sentence):
        linearize(nn.Sequential(nn.Linear(3, 3), layer), torch.ones(2, 3))


def test_a_refusal_lists_the_layers_that_are_known():
    known = (
        r"made of [^;]*\bGELU, Hardswish, Identity, L2Normalize, LayerNorm, LeakyReLU, Linear, PReLU, "
        r"[^;]*\bReLU, [^;]*\bSequential"
    )
    with pytest.raises(ValueError, match=known):
        linearize(nn.Softmax(-1), torch.ones(2, 3))


def test_layer_normalization_over_more_than_the_channels_is_refused():
    sentence = r"expected a LayerNorm over the 3 channels alone, but got one over the shape \(2, 3\)"
    with pytest.raises(ValueError, match=sentence):
        linearize(nn.LayerNorm((2, 3)), torch.ones(2, 3))


def test_batch_normalization_needs_running_statistics():
    head = nn.BatchNorm1d(3, track_running_stats=False)
    with pytest.raises(
        ValueError, match="expected a BatchNorm1d head with running statistics, but got one that tracks"
    ):
        linearize(head, torch.ones(2, 3))


def test_normalized_embeddings_have_norm_one():
    values = torch.tensor([[3.0, 4.0], [0.0, -2.0]])
    assert L2Normalize()(values).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, -1]]


def test_centering_subtracts_the_mean_of_the_set():
    center = Center.on(torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]]))
    assert center.mean.tolist() == [2, 4]
    assert center(torch.tensor([[5.0, 5.0]], dtype=torch.float64)).tolist() == [[3, 1]]
    assert center.double()(torch.ones(1, 2)).dtype == torch.float32
    assert list(center.state_dict()) == ["mean"]


def test_a_mean_is_the_centers_own():
    mean = torch.zeros(2)
    center = Center(mean)
    mean += 1
    assert not center.mean.any()


def test_a_set_without_a_mean_is_refused():
    with pytest.raises(ValueError, match=r"expected embeddings to center on, but got shape \(0, 3\): add images"):
        Center.on(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="expected finite means, but got nan: leave out the images it comes from"):
        Center.on(torch.tensor([[1.0, math.nan], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"expected one mean per channel, but got shape \(2, 3\): use Center.on"):
        Center(torch.zeros(2, 3))


def test_a_mean_is_a_tensor(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    with pytest.raises(TypeError, match=r"expected the mean as a tensor, but got list: use torch.tensor"):
        Center([1.0, 2.0])
