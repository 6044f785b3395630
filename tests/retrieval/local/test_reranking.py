"""Neighbors ranked again by their cells: the order is that of loops over all rows, and what explains it adds up."""

from math import sqrt

import pytest
import torch
from cell_banks import ROWS, cell_bank, cell_encoder, photographs, query_of

import fsl_explain
from episodes.errors import Mistake
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.classifiers.local.local_features import local_features
from fsl_explain.classifiers.local.max_sim import MaxSim
from fsl_explain.heads import Center
from fsl_explain.registries import LOCAL_RULES
from retrieval_explain import LocalFeatures, MemoryBank, explain_reranked, reranked, retrieve
from retrieval_explain.local.explained_ranks import ChangedImage

ENCODERS = {
    "plain": cell_encoder,
    "head": lambda: cell_encoder(head=Center(torch.tensor([0.1, -0.2, 0.3, 0.0]))),
}


@pytest.fixture(scope="module", params=ENCODERS)
def kept(request, tmp_path_factory):
    encoder = ENCODERS[request.param]()
    bank = cell_bank(tmp_path_factory.mktemp(request.param), encoder)
    return encoder, bank, LocalFeatures.build(encoder, bank, batch_size=4)


def cells(encoder, image):
    """Return the cells of one image as lists, through the head one by one."""
    maps = encoder(image[None]).maps[0]
    return [encoder.head(maps[:, i, j]).double().tolist() for i in range(maps.shape[1]) for j in range(maps.shape[2])]


def cosine(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True)) / sqrt(sum(a * a for a in x)) / sqrt(sum(b * b for b in y))


def looped_max_sim(encoder, query, bank, row):
    theirs = cells(encoder, photograph(encoder, bank, row))
    return sum(max(cosine(x, y) for y in theirs) for x in cells(encoder, query))


def photograph(encoder, bank, row):
    return encoder.preprocess([bank.paths[row]])[0]


def test_max_sim_over_the_whole_bank_is_that_of_loops(kept):
    encoder, bank, _ = kept
    query = query_of()
    found = reranked(encoder, query, bank)
    looped = torch.tensor([looped_max_sim(encoder, query, bank, row) for row in range(ROWS)], dtype=torch.float64)
    assert found.indices.tolist() == looped.argsort(descending=True).tolist()
    torch.testing.assert_close(found.scores, looped[found.indices], rtol=1e-6, atol=1e-6)
    assert found.indices.tolist() != retrieve(encoder, query, bank).neighbors.indices.tolist()


@pytest.mark.parametrize("rule", LOCAL_RULES)
def test_every_rule_over_cells_ranks_as_it_scores_each_image_alone(kept, rule):
    if rule == "deep-emd":
        pytest.importorskip("ot")
    encoder, bank, _ = kept
    local = local_features(encoder)
    ours = local(query_of()[None]).embedding[0].double()
    found = reranked(encoder, query_of(), bank, rule=rule)
    channels = ours.shape[-1] // 12
    for row, score in zip(found.indices.tolist(), found.scores, strict=True):
        theirs = local(photograph(encoder, bank, row)[None]).embedding[None].double()
        alone = SupportSet(theirs, torch.ones(1, 1, dtype=torch.bool), ("one",))
        expected = RULES[rule].of_channels(channels).class_scores(ours, alone, bank.compared_by)[0]
        torch.testing.assert_close(score, expected, rtol=1e-5, atol=1e-5)
    assert bool((found.scores[1:] <= found.scores[:-1]).all())


def test_only_the_first_neighbors_are_ranked_again(kept):
    encoder, bank, local = kept
    plain = retrieve(encoder, query_of(), bank).neighbors
    found = reranked(encoder, query_of(), bank, first=4, k=3, local=local)
    assert len(found.indices) == len(found.scores) == 3
    assert set(found.indices.tolist()) <= set(plain.indices[:4].tolist())
    whole = reranked(encoder, query_of(), bank)
    assert found.indices.tolist() == [row for row in whole.indices.tolist() if row in plain.indices[:4].tolist()][:3]
    for row, rank, similarity in zip(found.indices, found.first_ranks, found.similarities, strict=True):
        assert plain.indices[rank - 1] == row
        assert plain.similarities[rank - 1] == similarity
    assert torch.equal(found.labels, bank.labels[found.indices])


def test_filters_are_those_of_the_search(kept):
    encoder, bank, _ = kept
    found = reranked(encoder, query_of(), bank, ids=[2, 5, 7], without=torch.tensor([5]))
    assert sorted(found.indices.tolist()) == [2, 7]


def test_equal_scores_keep_their_first_order(tmp_path):
    encoder = cell_encoder()
    folder = photographs(tmp_path / "images", 3)
    for number in range(3, 6):
        (folder / f"{number}.png").write_bytes((folder / "1.png").read_bytes())
    bank = MemoryBank.build(encoder, folder, directory=tmp_path / "bank")
    LocalFeatures.build(encoder, bank)
    found = reranked(encoder, query_of(), bank)
    assert [row for row in found.indices.tolist() if row in (1, 3, 4, 5)] == [1, 3, 4, 5]


def test_a_photograph_of_the_bank_is_found_first(kept):
    encoder, bank, _ = kept
    for row in range(ROWS):
        found = reranked(encoder, photograph(encoder, bank, row), bank, first=5)
        assert int(found.indices[0]) == row
        assert float(found.scores[0]) == pytest.approx(12, abs=1e-5)  # each of 12 cells is like itself


@pytest.mark.parametrize("rule", ["max-sim", "dn4", "frn", MaxSim()])
def test_explanations_add_up_to_the_score_and_to_the_lead(kept, rule):
    encoder, bank, _ = kept
    found = reranked(encoder, query_of(), bank, rule=rule)
    alone = explain_reranked(found, target=2)
    lead = explain_reranked(found, target=0, against=3)
    for explanation, expected in ((alone, found.scores[2]), (lead, found.scores[0] - found.scores[3])):
        torch.testing.assert_close(explanation.exact_score, expected, rtol=1e-5, atol=1e-5)
        whole = explanation.cells.double().sum() + explanation.bias
        torch.testing.assert_close(whole, explanation.exact_score, rtol=1e-5, atol=1e-5)
        assert explanation.receipt().residual < 1e-9
        assert explanation.support_cells.shape[-2:] == (3, 4)
    pairs = fsl_explain.correspondence(alone)
    torch.testing.assert_close(pairs.table.sum(), alone.exact_score, rtol=1e-6, atol=1e-6)


def test_the_pairs_of_max_sim_are_each_cell_and_its_most_similar_one(kept):
    encoder, bank, _ = kept
    found = reranked(encoder, query_of(), bank)
    table = fsl_explain.correspondence(explain_reranked(found)).table.squeeze()
    theirs = cells(encoder, photograph(encoder, bank, int(found.indices[0])))
    for cell, x in enumerate(cells(encoder, query_of())):
        alike = [cosine(x, y) for y in theirs]
        assert int(table[cell, :12].abs().argmax()) == alike.index(max(alike))


def test_what_does_not_fit_is_refused(kept, tmp_path):
    encoder, bank, _ = kept
    query = query_of()
    with pytest.raises(Mistake, match=r"expected a rule that compares cells, max-sim, .* but got prototype"):
        reranked(encoder, query, bank, rule="prototype")
    with pytest.raises(Mistake, match=r"expected a rule that compares cells, max-sim, .* but got deep-emd-sfc"):
        reranked(encoder, query, bank, rule="deep-emd-sfc")
    with pytest.raises(LookupError, match="max-sim"):
        reranked(encoder, query, bank, rule="max-sin")
    with pytest.raises(Mistake, match="at most the first 2 neighbors, but k is 3"):
        reranked(encoder, query, bank, first=2, k=3)
    with pytest.raises(Mistake, match="expected a k from 1 to the 9 candidates, but got 10"):
        reranked(encoder, query, bank, k=10)
    found = reranked(encoder, query, bank)
    with pytest.raises(LookupError, match="expected a place from 0 to 8, but got 9"):
        explain_reranked(found, target=9)
    with pytest.raises(Mistake, match="both places are 1"):
        explain_reranked(found, target=1, against=1)
    with pytest.raises(FileNotFoundError, match="holds none; make them with"):
        LocalFeatures.load(bank, directory=tmp_path)


def test_an_image_that_changed_is_not_explained_as_the_one_that_was_ranked(kept):
    encoder, bank, _ = kept
    found = reranked(encoder, query_of(), bank)
    other = bank.paths[int(found.indices[1])]
    with pytest.raises(
        Mistake, match=r"has changed: it scores .* now, and stands at #1 by the .* of the image that the bank"
    ):
        explain_reranked(found, target=0, read=lambda _: fsl_explain.image_batch.picture(other))


def test_an_image_that_changed_to_one_without_a_similarity_is_told_as_changed(kept, monkeypatch):
    encoder, bank, _ = kept
    found, transform = reranked(encoder, query_of(), bank), encoder.transform
    monkeypatch.setattr(encoder, "transform", lambda image: torch.full_like(transform(image), torch.nan))
    with pytest.raises(ChangedImage, match=r"an image has changed since the bank embedded it: .* is NaN or infinite"):
        explain_reranked(found)


def test_another_encoder_than_that_of_the_features_is_refused_where_the_bank_names_none(tmp_path):
    """An imported bank takes any encoder of its channels; its local features know theirs."""
    encoder, other = (make() for make in ENCODERS.values())
    paths = sorted(photographs(tmp_path / "images").iterdir())
    embeddings = encoder(encoder.preprocess(paths)).embedding
    MemoryBank.from_embeddings(embeddings, paths=paths).save(tmp_path / "imported.bank")
    bank = MemoryBank.load(tmp_path / "imported.bank")
    kept = LocalFeatures.build(encoder, bank)
    assert len(reranked(encoder, query_of(), bank, local=kept).indices) == len(bank)
    with pytest.raises(Mistake, match=r"the local features .* were made"):
        reranked(other, query_of(), bank, local=kept)
