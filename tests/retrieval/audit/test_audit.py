"""The audit of labels against loops, on clusters with known mistakes, and on real birds."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from real_embeddings import birds
from references import knn_shapley as reference

from episodes.errors import Mistake
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain import MemoryBank
from retrieval_explain.audit.audit_table import audit_columns, suspects, suspects_table
from retrieval_explain.audit.label_audit import Detection, audit, detection, inject_label_noise

NAMES = ("ant", "bee", "cat", "dog")


def clusters(images=60, seed=0, spread=0.8, similarity="cosine", **how):
    """Images of four classes, a cluster each, and the class of each."""
    rng = np.random.default_rng(seed)
    true = torch.arange(images) % 4
    embeddings = torch.from_numpy(np.eye(4)[true] * 3 + rng.normal(scale=spread, size=(images, 4))).float()
    return MemoryBank.from_embeddings(embeddings, labels=[NAMES[i] for i in true], similarity=similarity, **how), true


@pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])
@given(seed=st.integers(0, 99), k=st.integers(1, 9))
def test_equals_the_loops(similarity, seed, k):
    bank, labels = clusters(16, seed, spread=2.0, similarity=similarity)
    found = audit(bank, k)
    embeddings = bank.rows.read(0, 16).double()
    similarities = SIMILARITIES[similarity].pairwise(embeddings, embeddings).tolist()
    totals = [0.0] * 16
    for query in range(16):
        others = [row for row in range(16) if row != query]
        match = [int(labels[row] == labels[query]) for row in others]
        for row, value in zip(
            others, reference.values([similarities[query][r] for r in others], match, k), strict=True
        ):
            totals[row] += value
        nearest = sorted(others, key=lambda row: -similarities[query][row])[:k]
        votes = Counter(int(labels[row]) for row in nearest)
        most = max(votes.values())
        assert int(found.suggested[query]) == min(label for label, count in votes.items() if count == most)
        assert float(found.support[query]) == pytest.approx(most / k)
        assert float(found.agreement[query]) == pytest.approx(votes[int(labels[query])] / k)
        assert found.neighbors.indices[query].tolist() == nearest
    assert found.values.tolist() == pytest.approx([total / 16 for total in totals])
    agreement = found.agreement.tolist()
    assert found.worth.tolist() == pytest.approx([t + a for t, a in zip(totals, agreement, strict=True)])


def test_the_worth_of_all_labels_is_twice_the_matches_they_share():
    """Each match among the k nearest is counted once for the neighbor and once for the query."""
    bank, _ = clusters(40, spread=1.5)
    for k in (1, 4, 39):
        found = audit(bank, k)
        assert float(found.worth.sum()) == pytest.approx(2 * float(found.agreement.sum()))


def test_wrong_labels_come_first_and_the_right_ones_are_suggested():
    bank, true = clusters(80, spread=0.3)
    noise = inject_label_noise(bank.labels, 0.1, seed=3)
    found = audit(bank, labels=noise.labels)
    assert set(found.order[:8].tolist()) == set(noise.is_flipped.nonzero()[:, 0].tolist())
    assert torch.equal(found.suggested, true)
    assert found.values[noise.is_flipped].amax() < found.values[~noise.is_flipped].amin()
    assert torch.equal(bank.labels, true)
    judged = detection(found.worth, noise.is_flipped[found.rows])
    assert judged.average_precision == pytest.approx(1)
    assert judged.random_high < 0.4


def test_images_without_a_label_take_no_part():
    bank, _ = clusters(40)
    hidden = bank.labels.clone()
    hidden[::3] = -1
    kept = (hidden >= 0).nonzero()[:, 0]
    alone = MemoryBank.from_embeddings(bank.rows.take(kept), labels=bank.labels[kept])
    found, expected = audit(bank, 5, hidden), audit(alone, 5)
    assert torch.equal(found.rows, kept)
    torch.testing.assert_close(found.worth, expected.worth)
    assert torch.equal(found.neighbors.indices, kept[expected.neighbors.indices])
    assert torch.equal(found.suggested, expected.suggested)


def test_labels_may_be_any_numbers():
    bank, true = clusters(40, spread=1.5)
    numbered = MemoryBank.from_embeddings(bank.rows.read(0, 40), labels=true * 100 + 7)
    found, expected = audit(numbered), audit(bank)
    torch.testing.assert_close(found.worth, expected.worth)
    assert torch.equal(found.suggested, expected.suggested * 100 + 7)
    table = suspects_table(found, suspects(numbered, found, 3), "t", flipped=False)
    assert [len(row) for row in table.rows] == [5, 5, 5]
    assert table.rows[0][1] in {"7", "107", "207", "307"}


def test_k_stays_below_the_size_of_a_class():
    assert audit(clusters(80)[0]).k == 10
    assert audit(clusters(20)[0]).k == 4
    sizes = MemoryBank.from_embeddings(torch.eye(5) + 0.1, labels=[0, 1, 2, 3, 4])
    assert audit(sizes).k == 1


@given(seed=st.integers(0, 999), share=st.floats(0.06, 0.9))
def test_flips_are_as_many_as_asked_for_and_never_the_same_label(seed, share):
    labels = torch.tensor([4, 4, 9, -1, 9, 2, 2, 2, -1, 4, 9, 9])
    noise = inject_label_noise(labels, share, seed)
    assert int(noise.is_flipped.sum()) == round(share * 10)
    assert torch.equal(noise.is_flipped, noise.labels != labels)
    assert set(noise.labels.tolist()) <= {4, 9, 2, -1}
    assert torch.equal(noise.labels == -1, labels == -1)
    again = inject_label_noise(labels, share, seed)
    assert torch.equal(noise.labels, again.labels)


def test_flips_fall_on_every_image_and_on_every_other_label_alike():
    labels = torch.arange(30) % 3
    drawn = [inject_label_noise(labels, 0.3, seed) for seed in range(400)]
    often = torch.stack([noise.is_flipped for noise in drawn]).double().mean(dim=0)
    assert often.amin() > 0.2
    assert often.amax() < 0.4
    ahead = torch.cat([(noise.labels - labels)[noise.is_flipped] % 3 for noise in drawn])
    assert (ahead == 1).double().mean().item() == pytest.approx(0.5, abs=0.03)


def average_precision(worth, is_flipped):
    """The mean over the flipped images of the share of flipped ones up to each, in falling suspicion."""
    order = sorted(range(len(worth)), key=lambda image: worth[image])
    hits, total = 0, 0.0
    for rank, image in enumerate(order, start=1):
        if is_flipped[image]:
            hits += 1
            total += hits / rank
    return total / hits


def test_detection_is_the_area_under_the_precision_recall_curve():
    rng = np.random.default_rng(0)
    worth, flipped = torch.from_numpy(rng.normal(size=200)), torch.from_numpy(rng.random(200) < 0.1)
    found = detection(worth, flipped, orders=50)
    assert found.average_precision == pytest.approx(average_precision(worth.tolist(), flipped.tolist()))
    by_chance = [average_precision(rng.permutation(200).tolist(), flipped.tolist()) for _ in range(400)]
    assert found.random_mean == pytest.approx(np.mean(by_chance), abs=0.03)
    assert found.random_low == pytest.approx(np.percentile(by_chance, 2.5), abs=0.03)
    assert found.random_low < found.random_mean < found.random_high
    assert detection(worth, flipped, orders=50) == found
    assert isinstance(found, Detection)


def test_detection_of_nothing_is_refused():
    worth, flipped = torch.arange(4.0), torch.tensor([True, False, False, True])
    with pytest.raises(Mistake, match=r"expected flipped labels to find .* but got 0 flipped labels and 1000 orders"):
        detection(worth, torch.zeros(4, dtype=torch.bool))
    with pytest.raises(Mistake, match="but got 2 flipped labels and 0 orders"):
        detection(worth, flipped, orders=0)


def test_columns_hold_every_labeled_image_in_the_banks_order():
    bank, _ = clusters(40, paths=[f"photos/{i}.png" for i in range(40)], ids=range(1000, 1040))
    labels = bank.labels.clone()
    labels[5] = -1
    found = audit(bank, 5, labels)
    columns = audit_columns(bank, found, None)
    assert {len(values) for values in columns.values()} == {39}
    assert columns["id"][5] == 1006
    assert columns["path"][5] == "photos/6.png"
    assert columns["label"][5] == NAMES[6 % 4]
    first = int(found.order[0])
    assert columns["rank"][first] == 1
    assert sorted(columns["rank"]) == list(range(1, 40))
    doubted = suspects(bank, found, 2)
    assert doubted[0].path == columns["path"][first]
    assert doubted[0].suggested == columns["suggested_label"][first]
    table = suspects_table(found, doubted, "t", flipped=False)
    assert table.rows[0][0] == doubted[0].path.removeprefix("photos/")
    assert "Images are below photos." in table.notes[0]


def test_mistakes_are_told_in_one_sentence():
    bank, _ = clusters(12)
    with pytest.raises(ValueError, match="asked for 12 neighbors, but each of 12 labeled images has 11 others"):
        audit(bank, 12)
    with pytest.raises(ValueError, match="asked for 0 neighbors"):
        audit(bank, 0)
    with pytest.raises(ValueError, match="one label for each of 12 images, but got 3"):
        audit(bank, labels=bank.labels[:3])
    with pytest.raises(ValueError, match="0 of 5 images have one; add labels"):
        audit(MemoryBank.from_embeddings(torch.eye(5)))
    with pytest.raises(ValueError, match=r"a share that flips some of 12 labels, but 0\.01 flips 0"):
        inject_label_noise(bank.labels, 0.01, seed=0)
    with pytest.raises(ValueError, match=r"a share that flips some of 12 labels, but 1\.5 flips 18"):
        inject_label_noise(bank.labels, 1.5, seed=0)
    with pytest.raises(ValueError, match="where there are two or more, but there is 1"):
        inject_label_noise(torch.tensor([3, 3, -1]), 0.5, seed=0)


@pytest.mark.real
@pytest.mark.slow
def test_flipped_labels_of_real_birds_are_found_far_above_chance(cub10):
    embeddings, labels = birds(cub10)
    bank = MemoryBank.from_embeddings(embeddings, labels=labels)
    found = []
    for seed in range(3):
        noise = inject_label_noise(labels, 0.05, seed)
        judged = detection(audit(bank, labels=noise.labels).worth, noise.is_flipped, orders=200)
        assert judged.average_precision > 2 * judged.random_high
        found.append(judged.average_precision)
    assert np.mean(found) > 0.6
