"""A training from its settings to weights: what its options do, and how it stops."""

import pytest
import torch
from tiny_training import OBJECTIVES, NoiseImages, assert_same_weights, settings, tiny_encoder, weights, with_head
from unchecked import loaded_without_shape_checks

from fsl_explain.training import Unfinished, train
from fsl_explain.training import training as training_module


def trained(objective, encoder=None, unfinished=None, **sections):
    encoder = encoder or with_head()
    losses = train(encoder, NoiseImages(), settings(objective, **sections), unfinished)
    return encoder, losses


def changes(objective, make=with_head, **optimizer):
    """How far network and head move in a training."""
    encoder = make()
    before = weights(encoder)
    trained(objective, encoder, optimizer=optimizer)
    return {name: (value - before[name]).abs().max().item() for name, value in weights(encoder).items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_is_repeatable_and_leaves_the_callers_random_state(objective):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, losses = trained(objective)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    other, again = trained(objective)
    assert_same_weights(weights(one), weights(other))
    assert losses == again
    assert len(losses) == 2


def test_another_seed_ends_at_other_weights():
    """Both begin at the same ones, which depend on the encoder's seed."""
    one, other = (weights(trained("NPID", seed=seed)[0]) for seed in range(2))
    assert not torch.equal(one["1.0.weight"], other["1.0.weight"])


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_processes_that_prepare_batches_change_nothing():
    assert_same_weights(*(weights(trained("MoCo", run={"workers": workers})[0]) for workers in (0, 2)))


def test_a_trained_encoder_is_ready_for_use():
    encoder, _ = trained("episodic")
    assert not any(module.training for part in (encoder.network, encoder.head) for module in part.modules())


@pytest.mark.parametrize("objective", ["episodic", "multi-similarity", "NPID"])
def test_the_loss_falls(objective):
    """Few images, seen often. MoCo's grows at first, while its queue fills with keys of images."""
    _, losses = trained(objective, optimizer={"epochs": 4, "batches_per_epoch": 6, "learning_rate": 0.03})
    assert min(losses[-2:]) < losses[0]


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(monkeypatch):
    seen, step = [], training_module._Run._step
    monkeypatch.setattr(training_module._Run, "_step", lambda *given: seen.append(step(*given)) or seen[-1])
    _, losses = trained("NPID")
    assert losses == pytest.approx([sum(seen[:4]) / 4, sum(seen[4:]) / 4])


def test_a_report_counts_every_batch():
    told = []
    train(with_head(), NoiseImages(), settings("NPID"), report=lambda done, total: told.append((done, total)))
    assert told == [(0, 8)] + [(1, 8)] * 8


def statistics(moved):
    return [moved[name] for name in moved if "running" in name or "tracked" in name]


@pytest.mark.parametrize("objective", ["episodic", "MoCo"])
def test_frozen_normalization_keeps_its_statistics_and_learns_the_rest(objective):
    moved = changes(objective, freeze_normalization=True)
    assert max(statistics(moved)) == 0
    assert moved["0.blocks.block1.norm.weight"] > 0
    assert moved["0.blocks.block4.conv.weight"] > 0
    assert min(statistics(changes(objective))) > 0


def test_the_key_encoder_keeps_its_statistics_too():
    kept = settings("MoCo", optimizer={"freeze_normalization": True})
    with pytest.MonkeyPatch.context() as patch:
        runs, begun = [], training_module._begun
        patch.setattr(training_module, "_begun", lambda *given: runs.append(begun(*given)) or runs[-1])
        train(with_head(), NoiseImages(), kept)
    state = runs[0].objective.state_dict()
    assert int(state["key_embedder.network.blocks.block1.norm.num_batches_tracked"]) == 0


def test_the_network_moves_at_its_own_rate():
    """One step down the same gradient, without momentum and decay."""
    plain = {"epochs": 1, "batches_per_epoch": 1, "momentum": 0.0, "weight_decay": 0.0}
    whole, tenth = changes("NPID", **plain), changes("NPID", **plain, network_factor=0.1)
    for name in ("blocks.block1.conv.weight", "blocks.block4.conv.weight", "blocks.block2.norm.bias"):
        assert tenth[f"0.{name}"] == pytest.approx(0.1 * whole[f"0.{name}"], rel=1e-3)
    assert tenth["1.0.weight"] == pytest.approx(whole["1.0.weight"], rel=1e-6)


def test_each_step_has_the_rate_of_its_schedule():
    """Without momentum and decay, rates of next to nothing stop the training in the second epoch."""
    plain = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "steps"}
    stopped, _ = trained("NPID", optimizer={**plain, "rates": [[1, 1e-30]]})
    early, _ = trained("NPID", optimizer={**plain, "epochs": 1})
    learned = {name for name, _ in early.network.named_parameters()}
    for name in learned:
        assert torch.equal(stopped.network.get_parameter(name), early.network.get_parameter(name))


def test_adam_is_torchs():
    moved = changes("NPID", kind="adam", learning_rate=0.01, weight_decay=0.0, epochs=1, batches_per_epoch=1)
    assert moved["1.0.weight"] == pytest.approx(0.01, rel=1e-3)  # the first step of Adam is the rate


@pytest.mark.parametrize("objective", ["episodic", "multi-similarity", "NPID", "MoCo"])
def test_a_loss_that_is_no_number_stops_the_training(objective):
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match=r"^the loss of batch 2 is nan; lower optimizer\.learning_rate, or use float"):
        trained(objective, encoder, optimizer={"learning_rate": 1e38, "schedule": "steps"})


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("objective", ["episodic", "margin", "NPID", "MoCo"])
def test_half_precision_stays_finite_and_near(objective, precision):
    few = {"epochs": 2, "batches_per_epoch": 1, "learning_rate": 0.01}
    encoder, losses = trained(objective, run={"precision": precision}, optimizer=few)
    exact, in_float32 = trained(objective, optimizer=few)
    assert all(torch.isfinite(value).all() for value in weights(encoder).values())
    assert all(value.dtype == weights(exact)[name].dtype for name, value in weights(encoder).items())
    assert losses[0] == pytest.approx(in_float32[0], rel=0.02, abs=0.01)
    assert losses[0] != in_float32[0]


def test_the_scale_of_fp16_is_kept(tmp_path):
    config = settings("NPID", output=tmp_path / "w.safetensors", run={"precision": "fp16"})
    unfinished = Unfinished.of(config, {})
    train(with_head(), NoiseImages(), config, unfinished)
    scaler = unfinished.load()["scaler"]
    assert scaler["scale"] > 0
    assert scaler["_growth_tracker"] > 0
    other = Unfinished.of(settings("NPID", output=tmp_path / "w.safetensors"), {})
    with pytest.raises(ValueError, match=r"expected an unfinished training of these settings and images"):
        train(with_head(), NoiseImages(), config.model_copy(update={"run": settings("NPID").run}), other)


def test_every_batch_has_noise_of_its_own(monkeypatch):
    drawn, randint = [], torch.randint
    monkeypatch.setattr(torch, "randint", lambda *given, **named: drawn.append(randint(*given, **named)) or drawn[-1])
    trained("NPID")
    noise = [values for values in drawn if values.shape == (6, 7)]
    assert len(noise) == 8
    assert len({values.numpy().tobytes() for values in noise}) == 8


@pytest.mark.parametrize("device", ["zap", "cuda:99"])
def test_a_device_that_is_not_there_is_said(device):
    with pytest.raises(ValueError, match=rf"^expected a device this machine has, but got '{device}'; use cpu\.$"):
        trained("NPID", run={"device": device})


def test_a_data_set_in_the_place_of_the_encoder_is_said():
    unchecked = loaded_without_shape_checks("fsl_explain.training.training")
    with pytest.raises(TypeError, match=r"^expected an Encoder first, but got NoiseImages; the order is encoder, data"):
        unchecked.train(NoiseImages(), with_head(), settings("NPID"))
