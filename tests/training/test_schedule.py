import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR

from fsl_explain.config.training import OptimizerConfig
from fsl_explain.training.schedule import learning_rate

CAN_RATES = ((60, 0.006), (70, 0.0012), (80, 0.00024))


def rates_of_torch(scheduler_of, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, rates = scheduler_of(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_cosine_is_torchs_with_one_change_a_batch():
    config = OptimizerConfig(epochs=4, learning_rate=0.1)
    expected = rates_of_torch(lambda optimizer: CosineAnnealingLR(optimizer, T_max=4 * 5), steps=20)
    assert [learning_rate(config, step / 5) for step in range(20)] == pytest.approx(expected, rel=1e-9)


def test_steps_are_torchs():
    config = OptimizerConfig(epochs=8, learning_rate=0.1, schedule="steps", rates=((3, 0.01), (6, 0.001)))
    expected = rates_of_torch(lambda optimizer: MultiStepLR(optimizer, [3, 6], gamma=0.1), steps=8)
    assert [learning_rate(config, epoch) for epoch in map(float, range(8))] == pytest.approx(expected, rel=1e-9)


def test_the_rates_of_cross_attention_network():
    config = OptimizerConfig(epochs=90, learning_rate=0.1, schedule="steps", rates=CAN_RATES)
    expected = [0.1] * 60 + [0.006] * 10 + [0.0012] * 10 + [0.00024] * 10
    assert [learning_rate(config, epoch) for epoch in map(float, range(90))] == expected
    assert learning_rate(config, 59 + 1199 / 1200) == 0.1


def test_without_rates_steps_stay():
    assert learning_rate(OptimizerConfig(schedule="steps", learning_rate=0.3), 7.0) == 0.3
