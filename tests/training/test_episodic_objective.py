import pytest
import torch
from references import episodic as reference
from tiny_training import NoiseImages, settings, tiny_encoder

from episodes import direct_resize
from fsl_explain.config.training import AugmentationConfig
from fsl_explain.training import objective_of
from fsl_explain.training.augmentation import augmentation_of
from fsl_explain.training.image_batches import ImageBatches

CONFIG = {"kind": "episodic", "n_way": 3, "n_shot": 2, "n_query": 3, "episodes_per_batch": 2, "temperature": 5.0}


@pytest.fixture
def drawn():
    dataset = NoiseImages()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = objective_of(tiny_encoder(), dataset, settings(CONFIG)).double().eval()
    with torch.no_grad():
        objective.weighting.log_variances.copy_(torch.tensor([0.4, -0.7], dtype=torch.float64))
    augmentation = augmentation_of(AugmentationConfig(), 16, direct_resize(16, (0.5,) * 3, (0.2,) * 3))
    batch = ImageBatches(dataset, objective, augmentation, 0)[2]
    return objective, type(batch)(batch.pixels.double(), batch.images, batch.labels)


def test_both_losses_and_their_weighting_equal_loops(drawn):
    objective, batch = drawn
    Z = objective.embedder(batch.pixels.flatten(0, 2)).unflatten(0, (2, 15)).tolist()
    few = [loss for episode in Z for loss in reference.few_shot(episode, 3, 2, 3, 5.0)]
    W, b = objective.classifier.weight.tolist(), objective.classifier.bias.tolist()
    every = [z for episode in Z for z in episode]
    everywhere = reference.over_all_classes(every, batch.labels.flatten().tolist(), W, b)
    means = [sum(losses) / len(losses) for losses in (everywhere, few)]
    assert len(few) == 18
    assert len(everywhere) == 30
    assert objective(batch).item() == pytest.approx(reference.weighted(means, [0.4, -0.7]), rel=1e-9)


def test_all_parts_learn(drawn):
    objective, batch = drawn
    objective(batch).backward()
    for name, parameter in objective.named_parameters():
        assert parameter.grad is not None, name
    assert objective.weighting.log_variances.grad.abs().min() > 0
    assert objective.classifier.weight.grad.abs().sum() > 0
