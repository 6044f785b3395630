"""The fewest cells equal an exhaustive search: every subset of cells, and every way to give each a cell of a rival."""

from dataclasses import replace
from functools import lru_cache
from itertools import combinations, permutations

import pytest
import torch
from tiny_encoder import random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import RULES as NAMED_RULES
from fsl_explain.classifiers import CosineClassifier, KnnVote, MajorityVote
from fsl_explain.explainers.analysis import flipping_cells
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.explainers.choice import find_similarity
from fsl_explain.explainers.compared import compare

AFFINE_HEADS = ("none", "linear", "linear-without-bias", "batch-norm", "batch-norm-without-gain")
NORMALIZED_HEADS = ("l2", "linear-l2", "center-l2")
OTHER_HEADS = ("mlp", "leaky", "prelu-mlp", "gelu-mlp", "layer-norm", "simclr", "moco-v2")
LINEAR_DECISIONS = [
    *((rule, similarity) for rule in ("mean-similarity", "prototype") for similarity in ("cosine", "inner-product")),
    *((rule, similarity) for rule in ("mean-similarity", "prototype") for similarity in ("euclidean", "mahalanobis")),
    ("logistic-regression", "cosine"),
    ("logistic-regression", "inner-product"),
    ("cosine-classifier", "cosine"),
]
TIE = 1e-12
RULES = {
    **NAMED_RULES,
    "cosine-classifier": CosineClassifier(steps=10),
    "knn-vote": KnnVote(k=3),
    "majority-vote": MajorityVote(k=3),
}

NOT_LINEAR = [
    *((pooling, "linear", "mean-similarity") for pooling in ("gmp", "lse", "gem")),
    *(("gap", head, "prototype") for head in OTHER_HEADS),
    *(("gap", "linear", rule) for rule in ("nearest-neighbor", "knn-vote", "majority-vote")),
]

every_affine_head = pytest.mark.parametrize("head", [*AFFINE_HEADS, *NORMALIZED_HEADS])
every_linear_decision = pytest.mark.parametrize(("rule", "similarity"), LINEAR_DECISIONS)
either_edit = pytest.mark.parametrize("edit", ["remove", "replace"])


def proven(head, rule, similarity):
    """Where the lead keeps the sign of a sum: a norm may divide all of it, or nothing."""
    if rule == "logistic-regression":  # has intercepts, which no norm divides
        return similarity == "inner-product" and head in AFFINE_HEADS
    if head in AFFINE_HEADS or similarity in ("cosine", "inner-product"):
        return True
    return (rule, similarity) == ("mean-similarity", "euclidean")  # supports of norm 1, all as far from the origin


def photographs(*leading, edit, seed):
    """Small enough for all subsets of 6 cells, or all ways to fill 4 cells from the 8 of two supports."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, 3, 4, 6 if edit == "remove" else 4, generator=generator, dtype=torch.float64)


def case(edit, seed):
    """A query and supports of three classes, each a color of its own, so that it takes several cells to cross over."""
    generator = torch.Generator().manual_seed(seed + 500)
    colors = 2 * torch.randn(3, 1, 3, 1, 1, generator=generator, dtype=torch.float64)
    supports = colors + photographs(3, 2, edit=edit, seed=seed)
    return (colors[seed % 3, 0] + photographs(edit=edit, seed=seed + 900)), supports


@lru_cache
def fillings(cells, donated):
    """Every way to fill some of the cells, each with another one of those donated; -1 where a cell stays."""
    rows = []
    for count in range(cells + 1):
        for places in combinations(range(cells), count):
            for given in permutations(range(donated), count):
                row = [-1] * cells
                for place, number in zip(places, given, strict=True):
                    row[place] = number
                rows.append(row)
    return torch.tensor(rows)


def every_edit(maps, donated):
    """Number of edited cells, and maps, of every edit; without donated cells they become 0."""
    cells = maps.flatten(1)
    if donated is None:
        changed = torch.tensor([[bool(n >> p & 1) for p in range(cells.shape[1])] for n in range(2 ** cells.shape[1])])
        return changed.sum(-1), torch.where(changed[:, None], 0, cells)
    filled = fillings(cells.shape[1], donated.shape[1])
    values = donated[:, filled.clamp(min=0)].movedim(1, 0)
    return (filled >= 0).sum(-1), torch.where((filled >= 0)[:, None], values, cells)


class Search:
    """All edits of one query, decided one by one."""

    def __init__(self, encoder, query, supports, rule, similarity):
        self.compared = compare(encoder, query, supports, similarity)
        self.rule, self.similarity = RULES[rule], find_similarity(similarity, self.compared)
        self.encoder = encoder
        self.target = int(self.scores(self.compared.features.maps[0].flatten(1)[None])[0].argmax())

    def scores(self, cells):
        embedding = self.encoder.head(self.encoder.pooling(cells[..., None])).detach()
        return self.rule.decision_scores(embedding, self.compared.supports, self.similarity)

    def fewest(self, edit, donor=None, winner=None):
        """The size of the smallest edit after which the winner, or any other class, is ahead of the decided one."""
        maps = self.compared.supports.features.maps
        donated = None if edit == "remove" else maps[donor].movedim(1, 0).flatten(1)
        sizes, cells = every_edit(self.compared.features.maps[0], donated)
        scores = self.scores(cells)
        others = [label for label in range(3) if label != self.target] if winner is None else [winner]
        ahead = scores[:, others].amax(-1) - scores[:, self.target] > TIE
        return int(sizes[ahead].min()) if ahead.any() else 0

    def fewest_of_all(self, edit):
        donors = [None] if edit == "remove" else [label for label in range(3) if label != self.target]
        return min([n for donor in donors if (n := self.fewest(edit, donor)) > 0], default=0)


def edited_by_hand(query, supports, found):
    """The cells of the query's maps after the edit that was found, one cell after another."""
    maps = query.clone()
    for turn, (row, column) in enumerate(found.cells):
        maps[:, row, column] = 0
        if found.replaced_by is not None:
            shot, there, across = found.replaced_by[turn]
            maps[:, row, column] = supports[found.donor, shot][:, there, across]
    return maps.flatten(1)


@either_edit
@every_linear_decision
@every_affine_head
def test_the_fewest_cells_equal_an_exhaustive_search(head, rule, similarity, edit):
    encoder = tiny_encoder(random_head(head))
    query, supports = case(edit, seed=1 + len(head + rule + similarity) % 3)
    found = counterfactual(encoder, query, supports, rule=RULES[rule], similarity=similarity, edit=edit)
    search = Search(encoder, query, supports, rule, similarity)
    fewest = search.fewest_of_all(edit)
    assert found.target == search.target
    assert found.minimal == proven(head, rule, similarity)
    assert len(found.cells) == fewest if found.minimal else len(found.cells) >= fewest or not found.found
    assert len(set(found.cells)) == len(found.cells)
    assert len(set(found.replaced_by or ())) == (len(found.cells) if edit == "replace" else 0)
    features = search.compared.features.maps[0], search.compared.supports.features.maps
    by_hand = search.scores(edited_by_hand(*features, found)[None])[0]
    torch.testing.assert_close(found.scores_at_features, by_hand)
    if found.found:
        assert by_hand[found.rival] - by_hand[found.target] > TIE


@either_edit
@pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])
@pytest.mark.parametrize("support_width", [2, 4])
def test_a_named_rival_gives_its_cells_and_overtakes_itself(support_width, similarity, edit):
    encoder, sizes = tiny_encoder(random_head("linear")), set()
    for seed in range(4):
        query, supports = case(edit, seed)
        supports = supports[..., :support_width]
        search = Search(encoder, query, supports, "prototype", similarity)
        for rival in {0, 1, 2} - {search.target}:
            found = counterfactual(
                encoder, query, supports, rule="prototype", similarity=similarity, edit=edit, rival=rival
            )
            sizes.add(search.fewest(edit, rival, winner=rival))
            assert found.minimal
            assert found.rival == rival
            assert len(found.cells) == search.fewest(edit, rival, winner=rival)
            assert found.donor == (rival if edit == "replace" and found.found else None)
    assert len(sizes) > 1


def ahead_after(search, cells, rival):
    """Whether the rival, or where none is named any other class, is ahead of the decided one."""
    scores = search.scores(cells[None])[0]
    others = [label for label in range(3) if label != search.target] if rival is None else [rival]
    return bool(scores[others].max() > scores[search.target] + TIE)


@either_edit
@pytest.mark.parametrize(("pooling", "head", "rule"), NOT_LINEAR)
def test_without_a_closed_form_the_shortest_prefix_really_flips(pooling, head, rule, edit):
    """Cells in the order of their shares in the contrast; after the last of them, and no sooner, another is ahead."""
    encoder, sizes = tiny_encoder(random_head(head), pooling), set()
    for seed in range(4):
        query, supports = case(edit, seed)
        search = Search(encoder, query, supports, rule, "cosine")
        for rival in (None, (search.target + 1) % 3):
            found = counterfactual(
                encoder, query, supports, rule=search.rule, similarity="cosine", edit=edit, rival=rival
            )
            assert not found.minimal
            sizes.add(len(found.cells))
            features = search.compared.features.maps[0], search.compared.supports.features.maps
            for count in range(1, len(found.cells) + 1):
                taken = None if found.replaced_by is None else found.replaced_by[:count]
                prefix = replace(found, cells=found.cells[:count], replaced_by=taken)
                assert ahead_after(search, edited_by_hand(*features, prefix), rival) == (count == len(found.cells))
    assert max(sizes) > 0


@either_edit
@pytest.mark.parametrize(("pooling", "head", "rule"), NOT_LINEAR[:2])
def test_of_the_prefixes_of_all_rivals_the_shortest(pooling, head, rule, edit):
    encoder, lengths = tiny_encoder(random_head(head), pooling), []
    for seed in range(4):
        query, supports = case(edit, seed)
        found = counterfactual(encoder, query, supports, rule=rule, similarity="cosine", edit=edit)
        rivals = {0, 1, 2} - {found.target}
        named = [
            counterfactual(encoder, query, supports, rule=rule, similarity="cosine", edit=edit, rival=rival)
            for rival in rivals
        ]
        lengths.append([len(one.cells) for one in named if one.found])
        assert all(len(found.cells) <= length for length in lengths[-1])
    assert any(len(set(pair)) == 2 for pair in lengths)


@either_edit
@pytest.mark.parametrize(("pooling", "head", "rule"), NOT_LINEAR[:3])
def test_prefixes_are_decided_in_batches_up_to_the_one_that_flips(pooling, head, rule, edit, monkeypatch):
    encoder, decided, longest, shorter = tiny_encoder(random_head(head), pooling), [], 0, 0
    scores_of = flipping_cells._scores_of
    monkeypatch.setattr(flipping_cells, "_scores_of", lambda *given: decided.append(len(given[1])) or scores_of(*given))
    for seed in range(4):
        query, supports = case(edit, seed)
        target = Search(encoder, query, supports, rule, "cosine").target
        for rival in (None, (target + 1) % 3):
            found = {}
            for first in (1, 2, 100):
                monkeypatch.setattr(flipping_cells, "FIRST_DECIDED", first)
                decided.clear()
                asked = {"rule": RULES[rule], "similarity": "cosine", "edit": edit, "rival": rival}
                found[first] = counterfactual(encoder, query, supports, **asked)
                if first == 1 and rival is not None and found[1].found:
                    assert sum(decided) < 2 * len(found[1].cells)
            if rival is None and found[100].found and found[100].donor == min({0, 1, 2} - {target}):
                assert decided[1] == len(found[100].cells)  # the second rival's as far as the first's, which was best
                shorter += decided[1] < decided[0]
            one, *others = found.values()
            for other in others:
                assert (other.cells, other.replaced_by, other.rival) == (one.cells, one.replaced_by, one.rival)
            longest = max(longest, len(one.cells))
    assert longest > 2
    assert shorter or edit == "remove"


@pytest.mark.parametrize(("pooling", "head", "rule"), NOT_LINEAR)
def test_a_prefix_is_in_the_order_of_the_contrast(pooling, head, rule):
    encoder, found_none = tiny_encoder(random_head(head), pooling), 0
    for seed in range(4):
        query, supports = case("remove", seed)
        search = Search(encoder, query, supports, rule, "cosine")
        rival = (search.target + 1) % 3
        found = counterfactual(
            encoder, query, supports, rule=search.rule, similarity="cosine", edit="remove", rival=rival
        )
        contrast = explain(
            encoder, query, supports, method="contrast", rule=search.rule, target=search.target, against=rival
        )
        order = contrast.cells.flatten().argsort(descending=True).tolist()
        places = tuple(divmod(number, 3) for number in order)
        if found.found:
            assert found.cells == places[: len(found.cells)]
            continue
        found_none += 1
        for count in range(1, 7):
            cells = edited_by_hand(search.compared.features.maps[0], None, replace(found, cells=places[:count]))
            assert not ahead_after(search, cells, rival)
    assert found_none < 6
