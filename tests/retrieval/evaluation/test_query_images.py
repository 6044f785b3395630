"""Queries evaluated piece by piece against all at once."""

from dataclasses import replace

import pytest
import torch

from episodes import DigitScenes
from fsl_explain import Encoder
from fsl_explain.evaluation.image_store import embed_unique
from retrieval_explain.cli.evaluate import bank_of
from retrieval_explain.evaluation import query_images
from retrieval_explain.settings import BankEvaluationConfig

SETTINGS = BankEvaluationConfig.model_validate(
    {
        "data": {"kind": "digit-scenes", "per_class": 6},
        "decision": {"rules": ["knn-vote", "nearest-neighbor"], "k": 11},
        "explanation": {"methods": ["exact", "contrast", "fam"]},
        "run": {"batch_size": 4},
    }
)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture(scope="module")
def at_once(encoder, dataset):
    return bank_of(SETTINGS, encoder, dataset)


@pytest.fixture
def in_pieces(monkeypatch):
    """Take eight queries at a time and keep two pieces; count what is read, and alter what is read again."""
    monkeypatch.setattr(query_images, "IMAGES_AT_ONCE", 8)
    monkeypatch.setattr(query_images, "IMAGES_KEPT", 17)
    read = []

    def embed(encoder, dataset, indices, batch_size, advance):
        store = embed_unique(encoder, dataset, indices, batch_size, advance)
        again = indices[0] in read
        read.extend(indices)
        return replace(store, embeddings=store.embeddings * (1 + 1e-3)) if again else store

    monkeypatch.setattr(query_images, "embed_unique", embed)
    return read


def test_pieces_measure_what_all_at_once_measures(encoder, dataset, at_once, in_pieces):
    told = []
    found = bank_of(SETTINGS, encoder, dataset, report=lambda phase, done, total: told.append((done, total)))
    assert len(dataset) > 24
    assert in_pieces == [*range(len(dataset)), *range(16, len(dataset))]
    torch.testing.assert_close(found.neighbors.similarities, at_once.neighbors.similarities)
    for mine, theirs in zip(found.rules, at_once.rules, strict=True):
        assert mine.rule == theirs.rule
        assert torch.equal(mine.correct, theirs.correct)
        assert 0 < mine.correct[16:].sum() < len(mine.correct[16:])
        torch.testing.assert_close(mine.score, theirs.score)
        torch.testing.assert_close(mine.masked_score, theirs.masked_score, equal_nan=True)
        torch.testing.assert_close(mine.figures, theirs.figures, rtol=1e-5, atol=1e-5, equal_nan=True)  # in percent
        for name, values in vars(theirs.chosen).items():
            torch.testing.assert_close(getattr(mine.chosen, name), values)
    explained = [(done, total) for done, total in told if total == told[-1][1]]
    assert sum(done for done, _ in explained) == explained[0][1]


def test_a_mask_that_removes_nothing_drops_nothing_in_a_piece_read_again(encoder, dataset, in_pieces):
    found = bank_of(SETTINGS, encoder, dataset)
    for rule in found.rules:
        drops = rule.figures["average_drop"][found.methods.index("all-ones"), rule.correct]
        assert torch.equal(drops, torch.zeros_like(drops))


def test_some_queries_decide_as_they_do_among_all(encoder, dataset, at_once):
    found = bank_of(SETTINGS, encoder, dataset, limit=7)
    assert found.reach == len(dataset) - 1
    assert found.images.tolist() == [number * len(dataset) // 7 for number in range(7)]
    torch.testing.assert_close(found.neighbors.similarities, at_once.neighbors.similarities[found.images])
    torch.testing.assert_close(
        found.rules[0].figures["proportion"], at_once.rules[0].figures["proportion"][:, found.images], equal_nan=True
    )
