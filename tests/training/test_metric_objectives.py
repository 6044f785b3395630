import pytest
import torch
import torch.nn.functional as F
from references import metric_learning as reference
from tiny_training import NoiseImages, settings, tiny_encoder

from fsl_explain.training import objective_of
from fsl_explain.training.objective import Batch

LABELS = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]])
MARGIN = {"kind": "margin", "classes_per_batch": 4, "images_per_class": 3}


class Given(torch.nn.Module):
    """Stands for an encoder: whatever the pixels, the embeddings are these."""

    def __init__(self, embeddings):
        super().__init__()
        self.embeddings = torch.nn.Parameter(embeddings)

    def forward(self, _pixels):
        return self.embeddings


def embeddings(width=5, spread=1.0, seed=0, count=12):
    """Draw embeddings of norm 1, near each other where the spread is small."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.randn(1, width, generator=generator)
    return F.normalize(center + spread * torch.randn(count, width, generator=generator), dim=-1)


def objective_on(given, config):
    objective = objective_of(tiny_encoder(), NoiseImages(), settings(config))
    objective.embedder = Given(given)
    return objective


def batch(labels=LABELS):
    return Batch(torch.zeros(1, *labels.shape, 3, 16, 16), torch.zeros_like(labels), labels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
@pytest.mark.parametrize(("alpha", "beta", "base", "epsilon"), [(2.0, 40.0, 0.5, 0.1), (3.0, 10.0, 0.2, 0.0)])
def test_multi_similarity_is_that_of_research_ms_loss(seed, spread, alpha, beta, base, epsilon):
    config = {"kind": "multi-similarity", "classes_per_batch": 4, "images_per_class": 3}
    config |= {"alpha": alpha, "beta": beta, "base": base, "epsilon": epsilon}
    given = embeddings(spread=spread, seed=seed)
    found = objective_on(given, config)(batch())
    expected = reference.multi_similarity(given.tolist(), LABELS.flatten().tolist(), alpha, beta, base, epsilon)
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    again = objective_on(3 * given, config)(batch())  # their length counts for nothing
    assert again.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_separated_classes_leave_no_pair_and_no_gradient():
    """Images of one class are one point, and the classes stand at right angles."""
    objective = objective_on(torch.eye(4).repeat_interleave(3, dim=0), {**MARGIN, "kind": "multi-similarity"})
    loss = objective(batch())
    loss.backward()
    assert loss.item() == 0
    assert objective.embedder.embeddings.grad.abs().max() == 0


def recorded_triplets(objective):
    drawn = []
    objective.miner.register_forward_hook(lambda _miner, _given, triplets: drawn.append(triplets))
    return drawn


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spread", [0.3, 2.0])
@pytest.mark.parametrize("learned", [False, True])
def test_margin_is_the_mean_over_active_terms(seed, spread, learned):
    given = embeddings(spread=spread, seed=seed)
    objective = objective_on(given, {**MARGIN, "learn_boundary": learned})
    betas = torch.tensor([1.0, 1.1, 1.2, 1.3]) if learned else torch.full((4,), 1.2)
    if learned:
        objective.loss.beta.data.copy_(betas)
    drawn = recorded_triplets(objective)
    found = objective(batch())
    triplets = list(zip(*(part.tolist() for part in drawn[0]), strict=True))
    of_images = betas[LABELS.flatten()].tolist()
    assert len(triplets) == 36
    assert found.item() == pytest.approx(reference.margin(given.tolist(), triplets, of_images, 0.2), rel=1e-4)


def test_a_triplet_has_an_image_of_its_class_and_one_of_another():
    objective, labels = objective_on(embeddings(), MARGIN), LABELS.flatten()
    drawn = recorded_triplets(objective)
    objective(batch())
    anchor, positive, negative = drawn[0]
    assert (labels[anchor] == labels[positive]).all()
    assert (anchor != positive).all()
    assert (labels[anchor] != labels[negative]).all()


def test_negatives_are_drawn_by_one_over_the_density_of_their_distance():
    given, labels = embeddings(spread=1.0, seed=3), LABELS.flatten()
    objective = objective_on(given, {**MARGIN, "cutoff": 0.7})
    drawn, counts = recorded_triplets(objective), torch.zeros(12, 12)
    for _ in range(120):
        objective(batch())
        counts.index_put_((drawn[-1][0], drawn[-1][2]), torch.ones(36), accumulate=True)
    expected = [reference.negative_probabilities(given.tolist(), labels.tolist(), a, 0.7) for a in range(12)]
    assert (counts.sum(dim=1) == 360).all()
    torch.testing.assert_close(counts / 360, torch.tensor(expected), rtol=0, atol=0.1)


def test_an_image_without_a_near_negative_still_learns():
    """Of 512 channels the weights of negatives span more than float32 does."""
    generator = torch.Generator().manual_seed(0)
    given = F.normalize(torch.randn(12, 512, generator=generator), dim=-1)
    given[3] = F.normalize(given[0] + 0.01 * given[3], dim=-1)  # a negative that lies upon image 0
    objective = objective_on(given, MARGIN)
    drawn = recorded_triplets(objective)
    objective(batch())
    assert torch.bincount(drawn[0][0], minlength=12).tolist() == [3] * 12


def test_the_boundary_learns_only_where_asked():
    """An official quirk: research-ms-loss declares a boundary for each class and never trains it."""
    fixed, learned = (objective_on(embeddings(), {**MARGIN, "learn_boundary": on}) for on in (False, True))
    assert [name for name, _ in fixed.named_parameters()] == ["embedder.embeddings"]
    assert [name for name, _ in learned.named_parameters()] == ["embedder.embeddings", "loss.beta"]
    assert learned.loss.beta.tolist() == pytest.approx([1.2] * 4)
    learned(batch()).backward()
    assert learned.loss.beta.grad.abs().min() > 0
    fixed(batch()).backward()
    assert fixed.loss.beta.tolist() == pytest.approx([1.2])


def test_without_the_package_the_sentence_names_the_extra(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("fsl_explain.training.metric_learning.import_module", missing)
    with pytest.raises(ValueError, match=r"needs pytorch-metric-learning, not installed here; run: .*\[training\]"):
        objective_on(embeddings(), MARGIN)
