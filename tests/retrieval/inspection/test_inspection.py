"""Why images came back: pairs, margin, vote, what the vote hangs on, and the page."""

import math
import re
from itertools import combinations

import PIL.Image
import pytest
import torch
from colors import BLUE, GREEN, PREPROCESS, RED, SIDE, Colors
from torchvision.utils import save_image

from fsl_explain import Encoder
from fsl_explain.classifiers import RULES, KnnVote, MajorityVote
from fsl_explain.report import Page
from retrieval_explain import MemoryBank
from retrieval_explain.decisions.explained_neighbors import retrieve
from retrieval_explain.inspection.expected import why_not_first
from retrieval_explain.inspection.inspected import inspect_neighbors, turning_point
from retrieval_explain.inspection.page import verdict, write_inspection
from retrieval_explain.inspection.query_region import cut_region


def halves(left, right):
    image = torch.empty(3, SIDE, SIDE)
    image[:, :, : SIDE // 2], image[:, :, SIDE // 2 :] = (torch.tensor(color)[:, None, None] for color in (left, right))
    return image


@pytest.fixture
def case(tmp_path):
    """A bank of four images of two classes on disk, its encoder, and a query that is red on its left half."""
    pictures = {"a": halves(RED, RED), "b": halves(RED, BLUE), "c": halves(BLUE, GREEN), "d": halves(GREEN, GREEN)}
    for name, pixels in pictures.items():
        save_image(pixels, tmp_path / f"{name}.png")
    paths = [tmp_path / f"{name}.png" for name in pictures]
    encoder = Encoder.wrap(Colors(), "cells", preprocess=PREPROCESS)
    embeddings = encoder(torch.stack(list(pictures.values()))).embedding
    bank = MemoryBank.from_embeddings(embeddings, labels=["warm", "warm", "cold", "cold"], paths=paths)
    return bank, encoder, halves(RED, GREEN), paths


def test_the_map_lies_where_the_query_meets_the_neighbor(case):
    bank, encoder, query, _ = case
    found = inspect_neighbors(retrieve(encoder, query, bank))
    by_name = {pair.shown.path[-5]: pair.explanation for pair in found.pairs}
    assert [pair.shown.rank for pair in found.pairs] == [1, 2, 3, 4]
    red_left = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 4)
    assert torch.equal((by_name["a"].cells > 1e-6).float(), red_left)
    assert torch.equal((by_name["d"].cells > 1e-6).float(), 1 - red_left)
    on_second = by_name["b"].support_cells[int(by_name["b"].target), 0]
    assert torch.equal((on_second > 1e-6).float(), red_left)
    assert found.margin is not None
    assert float(found.margin.score) == pytest.approx(found.gallery[0].similarity - found.gallery[1].similarity)


def test_the_margin_is_what_the_first_has_over_the_second(case):
    bank, encoder, _, paths = case
    query = halves(RED, GREEN).clone()
    query[..., :12] = halves(RED, RED)[..., :12]
    found = inspect_neighbors(retrieve(encoder, query, bank))
    first, second = (shown.similarity for shown in found.gallery[:2])
    assert first > second + 0.01
    assert float(found.margin.score) == pytest.approx(first - second, abs=1e-6)
    paths[found.gallery[1].row].unlink()
    assert float(inspect_neighbors(retrieve(encoder, query, bank)).margin.score) == pytest.approx(first - second)


def test_the_vote_tells_each_voters_rank(case):
    bank, encoder, query, _ = case
    found = inspect_neighbors(retrieve(encoder, query, bank))
    labels = [shown.label for shown in found.gallery]
    for (name, shot), rank in found.vote.ranks.items():
        assert labels[rank - 1] == name
        assert labels[: rank - 1].count(name) == shot
    assert sorted(found.vote.ranks.values()) == [1, 2, 3, 4]


def test_votes_too_small_for_a_number_still_have_a_successor():
    bank = MemoryBank.from_embeddings(
        torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.2, 1, 0]]), labels=torch.tensor([0, 0, 1])
    )
    encoder = Encoder.wrap(Colors(), "cells", preprocess=PREPROCESS)
    found = turning_point(retrieve(encoder, halves(RED, RED), bank), KnnVote(temperature=1e-6))
    assert (found.winner, found.successor, found.needed, found.winners_voters) == ("0", "1", 2, 2)


def test_pairs_tell_the_stored_similarity_and_whether_the_file_has_changed(case):
    bank, encoder, query, paths = case
    for pair in inspect_neighbors(retrieve(encoder, query, bank)).pairs:
        assert pair.agrees
        assert float(pair.explanation.score) == pytest.approx(pair.shown.similarity, abs=1e-6)
        assert float(pair.explanation.cells.sum() + pair.explanation.bias) == pytest.approx(pair.shown.similarity)
    save_image(halves(BLUE, BLUE), paths[0])
    changed = {pair.shown.path[-5]: pair for pair in inspect_neighbors(retrieve(encoder, query, bank)).pairs}
    assert [name for name, pair in changed.items() if not pair.agrees] == ["a"]


def test_an_image_that_is_gone_is_shown_without_maps(case):
    bank, encoder, query, paths = case
    first = int(retrieve(encoder, query, bank, k=1).neighbors.indices[0])
    paths[first].unlink()
    found = inspect_neighbors(retrieve(encoder, query, bank))
    assert found.gallery[0].photograph is None
    assert paths[first].name in found.gallery[0].fault
    assert [pair.shown.rank for pair in found.pairs] == [2, 3, 4]
    assert found.margin is not None
    assert float(found.margin.score) == pytest.approx(found.gallery[0].similarity - found.gallery[1].similarity)


def test_an_image_that_has_changed_to_one_without_a_similarity_is_shown_without_maps(case, tmp_path):
    """A black image fires no channel, so that its embedding is zero."""
    bank, encoder, query, paths = case
    whole = inspect_neighbors(retrieve(encoder, query, bank))
    save_image(halves([0.0] * 3, [0.0] * 3), paths[whole.gallery[1].row])
    found = inspect_neighbors(retrieve(encoder, query, bank))
    assert [bool(one.fault) for one in found.gallery] == [False, True, False, False]
    assert "has changed since the bank embedded it: the embedding of" in found.gallery[1].fault
    assert [pair.shown.rank for pair in found.pairs] == [1, 3, 4]
    assert float(found.margin.score) == pytest.approx(float(whole.margin.score))
    write_inspection(found, Page(title="Why?"), PIL.Image.new("RGB", (9, 9)), tmp_path / "page.html")
    assert "No maps of #2: the image has changed" in (tmp_path / "page.html").read_text(encoding="utf-8")
    expected = why_not_first(retrieve(encoder, query, bank), int(bank.ids[whole.gallery[1].row]))
    assert "Only the query's side is shown, because an image has changed" in expected.notes[0]
    assert expected.contrast is not None


def test_a_bank_without_labels_has_no_vote_and_one_without_paths_no_pairs(case):
    bank, encoder, query, _ = case
    bare = MemoryBank.from_embeddings(bank.rows.read(0, 4))
    found = inspect_neighbors(retrieve(encoder, query, bare))
    assert found.vote is None
    assert found.pairs == ()
    assert found.gallery[0].fault == "the bank holds no path for it"
    with pytest.raises(ValueError, match="expected at least one neighbor to show, but got 0"):
        inspect_neighbors(retrieve(encoder, query, bare), explained=0)


def winner_without(labels, votes, absent):
    totals = [0.0, 0.0, 0.0]
    for place, (label, vote) in enumerate(zip(labels, votes, strict=True)):
        totals[label] += 0.0 if place in absent else vote
    return max(range(3), key=lambda label: (totals[label], -label))


@pytest.mark.parametrize("rule", [KnnVote(temperature=0.2), MajorityVote()])
@pytest.mark.parametrize("seed", range(8))
def test_no_fewer_voters_would_turn_the_vote(rule, seed):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(9, 3, generator=generator)
    labels = torch.randint(3, (9,), generator=generator)
    bank = MemoryBank.from_embeddings(embeddings, labels=labels)
    encoder = Encoder.wrap(Colors(), "cells", preprocess=PREPROCESS)
    retrieved = retrieve(encoder, halves(RED, GREEN), bank)
    found = turning_point(retrieved, rule)
    similarities = retrieved.neighbors.similarities
    votes = (similarities / 0.2).exp().tolist() if isinstance(rule, KnnVote) else [1.0] * 9
    ranked = labels[retrieved.neighbors.indices].tolist()
    winner = winner_without(ranked, votes, ())
    turning = next(
        size
        for size in range(1, 10)
        if any(winner_without(ranked, votes, absent) != winner for absent in combinations(range(9), size))
    )
    assert (found.winner, found.needed, found.winners_voters) == (str(winner), turning, ranked.count(winner))


def test_a_vote_of_one_class_has_no_turning_point(case):
    bank, encoder, query, _ = case
    found = inspect_neighbors(retrieve(encoder, query, bank, classes=["warm"]))
    assert found.vote.turning_point is None
    assert verdict(found.vote) == "Decided: warm. All 2 neighbors are of this class."


def test_the_page_shows_neighbors_vote_receipts_and_faults(case, tmp_path):
    bank, encoder, query, paths = case
    paths[3].write_bytes(b"no image")
    save_image(halves(BLUE, RED), paths[0])
    found = inspect_neighbors(retrieve(encoder, query, bank), rule=MajorityVote())
    image = PIL.Image.new("RGB", (20, 10))
    write_inspection(found, Page(title="Why <these>?"), image, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for words in ("Why &lt;these&gt;?", "Why #1 rather than #2", "The vote", "Adds up to the score.", "wins the vote"):
        assert words in page
    assert "the file has changed since the bank was built" in page
    assert "d.png" in page
    assert verdict(found.vote) in page
    assert "http:" not in page
    assert "https:" not in page


def test_a_region_is_cut_in_whole_pixels_and_refused_outside():
    image = PIL.Image.new("RGB", (20, 10))
    assert cut_region(image, (1.5, 2.0, 4.1, 10.0)).size == (4, 8)
    assert cut_region(image, (0, 0, 20, 10)).size == (20, 10)
    for box in ((5, 2, 5, 8), (5, 2, 3, 8), (-1, 0, 5, 5), (0, 0, 21, 5), (0, 0, float("nan"), 5)):
        with pytest.raises(ValueError, match=r"expected a box x1 y1 x2 y2 .* inside the image of 20×10"):
            cut_region(image, tuple(map(float, box)))


@pytest.mark.parametrize("rule", [MajorityVote(), KnnVote(temperature=0.5), "majority-vote"], ids=str)
def test_the_bars_of_the_page_are_each_classs_share_of_the_votes(case, tmp_path, rule):
    """Two of three neighbors are 66.7 % of a majority vote; a log vote's bars would be e²/(e² + e) = 73.1 %."""
    bank, encoder, query, _ = case
    retrieved = retrieve(encoder, query, bank, k=3)
    found = inspect_neighbors(retrieved, rule=rule)
    votes = {name: [] for name in bank.classes}
    near = retrieved.neighbors
    for row, s in zip(near.indices.tolist(), near.similarities.tolist(), strict=True):
        votes[bank.classes[int(bank.labels[row])]].append(math.exp(s / 0.5) if isinstance(rule, KnnVote) else 1.0)
    total = sum(map(sum, votes.values()))
    write_inspection(found, Page(title="Why?"), PIL.Image.new("RGB", (20, 10)), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    bars = page[page.index("Share of the vote") : page.index("How the voters add up")]
    assert sorted(map(len, votes.values())) == [1, 2]
    assert re.findall(r"[\d.]+ %", bars) == [
        f"{100 * share / total:.1f} %" for share in sorted(map(sum, votes.values()), reverse=True)
    ]


def test_a_rule_that_is_no_vote_is_refused(case):
    bank, encoder, query, _ = case
    for rule in ("nearest-neighbor", RULES["nearest-neighbor"]):
        with pytest.raises(ValueError, match=r"a vote of the neighbors, knn-vote or majority-vote, but got "):
            inspect_neighbors(retrieve(encoder, query, bank), rule=rule)
