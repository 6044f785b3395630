import pytest
import torch
import torch.nn.functional as F
from references import instances as reference
from tiny_training import NoiseImages, settings, tiny_encoder

from fsl_explain.training import objective_of
from fsl_explain.training.objective import Batch

NPID = {"kind": "instance-discrimination", "batch_size": 4, "negatives": 6, "temperature": 0.3}
MOCO = {"kind": "momentum-contrast", "batch_size": 4, "queue": 12, "momentum": 0.8, "temperature": 0.3}


def made(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return objective_of(tiny_encoder(), NoiseImages(), settings(config)).eval()


def batch(step=0, views=1):
    generator = torch.Generator().manual_seed(step)
    images = torch.arange(4 * step, 4 * step + 4)[:, None] % 20
    return Batch(torch.randn(views, 4, 1, 3, 16, 16, generator=generator), images, torch.zeros_like(images))


def embedded(embedder, pixels):
    with torch.no_grad():
        return F.normalize(embedder(pixels.flatten(0, 1)), dim=-1).tolist()


@pytest.fixture
def noise(monkeypatch):
    """Every noise sample that is drawn."""
    drawn, randint = [], torch.randint

    def record(*arguments, **options):
        drawn.append(randint(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(torch, "randint", record)
    return drawn


def rows(batch_of, noise):
    return [[int(own), *map(int, others)] for own, others in zip(batch_of.images.flatten(), noise[-1], strict=True)]


def test_npid_is_noise_contrastive_with_the_normalizer_of_the_first_batch(noise):
    objective, first, second = made(NPID), batch(0), batch(1)
    F0 = objective.memory.tolist()
    assert float(objective.normalizer) == -1
    V = embedded(objective.embedder, first.pixels[0])
    found = objective(first).item()
    Z = reference.normalizer(V, F0, rows(first, noise), 0.3)
    assert noise[-1].shape == (4, 6)
    assert float(objective.normalizer) == pytest.approx(Z, rel=1e-5)
    assert found == pytest.approx(reference.noise_contrastive(V, F0, rows(first, noise), 0.3, Z), rel=1e-5)
    F1 = objective.memory.tolist()
    V = embedded(objective.embedder, second.pixels[0])
    found = objective(second).item()
    assert found == pytest.approx(reference.noise_contrastive(V, F1, rows(second, noise), 0.3, Z), rel=1e-5)
    assert float(objective.normalizer) == pytest.approx(Z, rel=1e-5)


@pytest.mark.parametrize("negatives", [0, 6])
def test_the_memory_moves_halfway_and_keeps_norm_1(negatives):
    objective = made({**NPID, "negatives": negatives})
    before, given = objective.memory.tolist(), batch(0)
    expected = reference.remembered(before, embedded(objective.embedder, given.pixels[0]), [0, 1, 2, 3], 0.5)
    objective(given).backward()
    torch.testing.assert_close(objective.memory, torch.tensor(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(objective.memory[:4].norm(dim=-1), torch.ones(4))
    assert objective.memory[4:].tolist() == before[4:]
    assert not objective.memory.requires_grad


def test_without_negatives_it_is_the_softmax_over_all_images(noise):
    objective, given = made({**NPID, "negatives": 0}), batch(2)
    F0, V = objective.memory.tolist(), embedded(objective.embedder, given.pixels[0])
    expected = reference.softmax_over_all(V, F0, given.images.flatten().tolist(), 0.3)
    assert objective(given).item() == pytest.approx(expected, rel=1e-5)
    assert not noise


def test_the_first_memory_is_uniform_as_in_the_official_code():
    memory = made(NPID).memory
    limit = 1 / (4 / 3) ** 0.5
    assert memory.shape == (20, 4)
    assert memory.abs().max() < limit
    assert memory.abs().max() > 0.9 * limit
    assert memory.std().item() == pytest.approx(limit / 3**0.5, rel=0.15)


def test_momentum_contrast_compares_with_the_queue_and_replaces_its_oldest_keys():
    objective = made(MOCO)
    queue = objective.queue.tolist()
    torch.testing.assert_close(objective.queue.norm(dim=-1), torch.ones(12))
    for step in range(4):
        given = batch(step, views=2)
        queries = embedded(objective.embedder, given.pixels[0])
        found = objective(given).item()
        keys = embedded(objective.key_embedder, given.pixels[1])
        assert found == pytest.approx(reference.info_nce(queries, keys, queue, 0.3), rel=1e-5)
        start = 4 * step % 12  # the fourth batch begins again at the front
        queue[start : start + 4] = keys
        torch.testing.assert_close(objective.queue, torch.tensor(queue), rtol=1e-5, atol=1e-6)
        assert int(objective.oldest) == (start + 4) % 12


def test_the_key_encoder_follows_before_its_keys_are_made_and_has_no_gradient():
    objective = made(MOCO)
    with torch.no_grad():
        for parameter in objective.embedder.parameters():
            parameter.add_(torch.ones_like(parameter))
    expected = [
        0.8 * key + 0.2 * query
        for key, query in zip(objective.key_embedder.parameters(), objective.embedder.parameters(), strict=True)
    ]
    objective(batch(0, views=2)).backward()
    for found, following in zip(objective.key_embedder.parameters(), expected, strict=True):
        torch.testing.assert_close(found, following)
        assert found.grad is None
        assert not found.requires_grad
    assert all(parameter.grad is not None for parameter in objective.embedder.parameters())


def test_the_key_encoder_begins_as_the_encoder_and_is_no_part_of_it():
    objective = made(MOCO)
    for key, query in zip(objective.key_embedder.parameters(), objective.embedder.parameters(), strict=True):
        assert torch.equal(key, query)
        assert key.data_ptr() != query.data_ptr()
