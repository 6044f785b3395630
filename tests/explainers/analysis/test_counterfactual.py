"""Counterfactuals whose answer a person can see, their confirmation by a forward, and what they refuse.

Each channel copies a color and each pixel is a cell: an image's score for a color is how many pixels have it.
"""

import math
from fractions import Fraction
from importlib.util import find_spec, module_from_spec, spec_from_file_location

import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder
from torch import nn

from fsl_explain import Encoder
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.analysis.counterfactual import counterfactual, edited_image

COLORS = dict(zip("rgb", torch.eye(3), strict=True))
WHOLE = {"green": "gggggg", "red": "rrrrrr", "blue": "bbbbbb"}
either_edit = pytest.mark.parametrize("edit", ["remove", "replace"])


def copying_encoder():
    network = nn.Sequential(nn.Conv2d(3, 3, kernel_size=1, bias=False))
    nn.init.dirac_(network[0].weight)
    return Encoder.wrap(network, "0", preprocess=torch.tensor)


def painted(letters, width=3):
    """An image of two rows of ``width`` pixels; any other letter is black."""
    pixels = torch.stack([COLORS.get(letter, torch.zeros(3)) for letter in letters], dim=-1)
    return pixels.reshape(3, -1, width)


def painted_supports(*names, **more):
    return {name: painted(WHOLE[name])[None] for name in names} | more


def counted(letters, supports, **choice):
    return counterfactual(copying_encoder(), painted(letters), supports, similarity="inner-product", **choice)


@pytest.mark.parametrize(("edit", "fewest"), [("remove", 3), ("replace", 2)])
def test_four_red_pixels_against_two_green_ones(edit, fewest):
    """Two removed, or one made green, is a tie, which green, the first class, would win; but it is no overtaking."""
    found = counted("rgrrgr", painted_supports("green", "red"), edit=edit)
    assert (found.classes[found.target], found.classes[found.rival]) == ("red", "green")
    assert found.cells == ((0, 0), (0, 2), (1, 0))[:fewest]
    assert torch.equal(found.mask, torch.tensor([[True, False, True], [fewest == 3, False, False]]))
    assert found.minimal
    after = torch.tensor([2.0, 1]) if edit == "remove" else torch.tensor([4.0, 2])
    for scores in (found.scores_at_features, found.scores_at_pixels):
        torch.testing.assert_close(scores, after.double() / 6)
    torch.testing.assert_close(found.scores_before, torch.tensor([2.0, 4]).double() / 6)
    assert found.flipped_at_features
    assert found.flipped_at_pixels
    letters = ".g..gr" if edit == "remove" else "gggrgr"
    assert torch.equal(found.image_before, painted("rgrrgr"))
    assert torch.equal(found.image_after, painted(letters))


def test_the_sentence_says_what_happens_and_how_sure_it_is():
    supports = painted_supports("green", "red")
    assert str(counted("rgrrgr", supports)) == (
        "Replacing 2 of 6 cells by cells of green lets green overtake red, and no fewer do. At the features green is "
        "decided, ahead by 0.333. By one forward of the edited image green is decided, ahead by 0.333."
    )
    assert str(counted("rrrrrr", supports, edit="remove")) == (
        "Removing cells does not let another class overtake red, whichever of the 6 they are."
    )
    votes = counted("rrrrrr", supports, edit="remove", rule="nearest-neighbor", rival="green")
    assert str(votes) == "Removing cells does not let green overtake red, tried in the order of their shares only."
    assert "green overtake red, found by the order of their shares, not proven the fewest. At" in str(
        counted("rgrrgr", supports, edit="remove", rule="nearest-neighbor")
    )


@pytest.mark.parametrize("rule", ["mean-similarity", "nearest-neighbor"])
def test_what_no_edit_can_change_stays(rule):
    """All pixels removed, red and green both score 0: a tie."""
    found = counted("rrrrrr", painted_supports("green", "red"), edit="remove", rule=rule)
    assert not found.found
    assert not found.flipped_at_features
    assert not found.flipped_at_pixels
    assert (found.rival, found.donor, found.cells, found.replaced_by) == (None, None, (), None)
    assert not found.mask.any()
    assert torch.equal(found.scores_before, found.scores_at_features)
    assert torch.equal(found.image_before, found.image_after)
    assert found.minimal == (rule == "mean-similarity")


def test_a_named_rival_overtakes_even_where_a_third_class_wins():
    supports = painted_supports("red", "green", "blue")
    nearest = counted("rrrbbg", supports, edit="remove")
    assert (nearest.classes[nearest.rival], len(nearest.cells)) == ("blue", 2)
    named = counted("rrrbbg", supports, edit="remove", rival="green")
    assert (named.classes[named.rival], len(named.cells)) == ("green", 3)
    assert named.classes[named.label_at_features] == "blue"
    assert "lets green overtake red, and no fewer do. At the features blue is decided, ahead by 0.167." in str(named)
    assert counted("rrrbbg", supports, edit="remove", rival=1).cells == named.cells


def test_of_rivals_that_need_as_few_cells_the_one_with_the_largest_lead():
    """One red pixel replaced lets green or blue overtake; the blue one is twice as bright."""
    supports = painted_supports("red", "green", blue=2 * painted(WHOLE["blue"])[None])
    found = counted("rrggb.", supports | {"red": 1.5 * supports["red"]})
    assert found.classes[found.target] == "red"
    assert found.classes[found.rival] == "blue"
    assert len(found.cells) == 1
    kept = ~found.mask
    assert torch.equal(found.image_before[:, kept], found.image_after[:, kept])


@pytest.mark.parametrize(("rule", "winner"), [("mean-similarity", "green"), ("nearest-neighbor", "blue")])
def test_a_rival_that_overtakes_by_cells_of_its_own_comes_first(rule, winner):
    """One pixel of green's image is so bright a blue that by it blue would lead by more; each takes one cell."""
    green = painted("ggggg.") + 6 * painted(".....b")
    supports = painted_supports("red", green=green[None], blue=2 * painted(WHOLE["blue"])[None])
    found = counted("rr....", supports, rule=rule)
    assert len(found.cells) == 1
    assert found.classes[found.rival] == found.classes[found.donor] == winner


def test_each_cell_of_a_support_is_used_once():
    """Green is two images with one green pixel each, and padding that repeats one: the third cell can only be black."""
    supports = {
        "green": torch.stack([painted("g....."), painted(".....g")]),
        "red": torch.stack([painted(WHOLE["red"])] * 3),
    }
    found = counterfactual(copying_encoder(), painted("rr.rr."), supports, edit="replace")
    assert found.cells == ((0, 0), (0, 1), (1, 0))
    assert found.replaced_by == ((0, 0, 0), (1, 1, 2), (0, 0, 1))
    torch.testing.assert_close(found.scores_at_features, torch.tensor([2.0, 1]).double() / math.sqrt(5))


@either_edit
def test_the_forward_is_that_of_the_edited_image(edit):
    """A cell of the network sees 2 × 2 pixels and no more, so a replaced one is the support's to the last digit."""
    encoder, differ = tiny_encoder(random_head("linear")), []
    for seed in range(6):
        query, supports = images(seed=seed), images(3, 2, seed=40 + seed)
        found = counterfactual(encoder, query, supports, similarity="euclidean", edit=edit)
        edited = query.clone()
        for turn, (row, column) in enumerate(found.cells):
            square = (slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            edited[square] = 0
            if found.replaced_by is not None:
                shot, there, across = found.replaced_by[turn]
                other = supports[found.donor, shot]
                edited[square] = other[:, 2 * there : 2 * there + 2, 2 * across : 2 * across + 2]
        embedding, gallery = encoder(edited[None]).embedding, encoder(supports.flatten(0, 1)).embedding
        scores = -(embedding - gallery).square().sum(-1).reshape(3, 2).mean(-1)
        torch.testing.assert_close(found.scores_at_pixels, scores.detach())
        assert found.label_at_pixels == int(scores.argmax())
        assert found.flipped_at_pixels == (int(scores.argmax()) != found.target)
        differ.append(not torch.allclose(found.scores_at_features, found.scores_at_pixels))
    assert any(differ) == (edit == "remove")


def test_edited_pixels_equal_the_slow_version():
    """Grids that do not divide the images, and two images of another size."""
    image, others = images(seed=1)[:, :5, :7], images(2, seed=2)
    grid, other_grid = (2, 3), (4, 3)
    cells, sources = torch.tensor([4, 0, 2]), torch.tensor([23, 5, 12])
    replaced, removed = image.clone(), image.clone()
    for y in range(5):
        for x in range(7):
            down, across = Fraction(2 * y + 1, 10) * 2, Fraction(2 * x + 1, 14) * 3
            cell = int(down) * 3 + int(across)
            if cell not in cells:
                continue
            shot, inside = divmod(int(sources[cells.tolist().index(cell)]), 12)
            there, beside = (inside // 3 + down % 1) * Fraction(6, 4), (inside % 3 + across % 1) * Fraction(8, 3)
            replaced[:, y, x] = others[shot, :, math.floor(there), math.floor(beside)]
            removed[:, y, x] = 0
    assert torch.equal(edited_image(image, grid, cells, (others, other_grid, sources)), replaced)
    assert torch.equal(edited_image(image, grid, cells), removed)


def test_without_the_images_of_the_supports_only_a_removal_is_confirmed():
    encoder, query, supports = tiny_encoder(), images(seed=1), images(3, 2, seed=2)
    features = encoder(supports.flatten(0, 1)).unflatten(3, 2)
    replaced = counterfactual(encoder, query, features)
    assert replaced.found
    assert (replaced.scores_at_pixels, replaced.flipped_at_pixels, replaced.image_after) == (None, None, None)
    assert str(replaced).endswith(
        "By one forward of the edited image nothing is confirmed, because only the features of the supports were given."
    )
    given = counterfactual(encoder, query, supports)
    assert (given.cells, given.replaced_by) == (replaced.cells, replaced.replaced_by)
    removed = counterfactual(encoder, query, features, edit="remove", similarity="euclidean")
    again = counterfactual(encoder, query, supports, edit="remove", similarity="euclidean")
    assert removed.found
    torch.testing.assert_close(removed.scores_at_pixels, again.scores_at_pixels)


@either_edit
def test_in_single_precision_a_lead_within_rounding_is_none(edit):
    """Green is red and a hair: what is found has to survive the network's own precision."""
    encoder = tiny_encoder(random_head("linear"), dtype=torch.float32)
    query = images(seed=3, dtype=torch.float32)
    for seed in range(6):
        support = images(1, 1, seed=seed, dtype=torch.float32)
        supports = torch.cat([support, support + 1e-6 * images(1, 1, seed=seed + 50, dtype=torch.float32)])
        found = counterfactual(encoder, query, supports, similarity="inner-product", edit=edit)
        assert found.flipped_at_features == found.found


def test_a_network_in_training_stays_so():
    encoder = tiny_encoder(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3)), "gmp")
    encoder.head.train()
    query, supports = images(seed=1), images(3, 2, seed=2)
    first, second = (counterfactual(encoder, query, supports).scores_at_features for _ in range(2))
    assert torch.equal(first, second)
    assert encoder.head.training


class WatchedVote(KnnVote):
    """A vote that cannot weigh a class without a neighbor, whose score is minus infinity."""

    def weights(self, class_weights, query, supports, similarity):
        silent = self.class_scores(query, supports, similarity).isneginf()
        assert silent.any()
        assert (class_weights[silent] == 0).all()
        return super().weights(class_weights, query, supports, similarity)


def test_a_rival_without_a_vote_has_no_weight():
    counted("rrggb.", painted_supports("green", "red", "blue"), rule=WatchedVote(k=1))


@pytest.mark.parametrize(
    ("choice", "error", "sentence"),
    [
        ({"edit": "erase"}, LookupError, r"unknown edit 'erase'.* Known: replace, remove"),
        ({"rival": "crw"}, LookupError, r"unknown class 'crw'; did you mean 'crow'"),
        ({"rival": 2}, LookupError, "expected a class index from 0 to 1, but got 2"),
        ({"rival": "jay"}, ValueError, "the decided class cannot overtake itself, but rival is jay; name another"),
        ({"rule": "vote"}, LookupError, "unknown rule 'vote'"),
    ],
    ids=str,
)
def test_a_choice_that_does_not_fit_is_one_sentence(choice, error, sentence):
    supports = {"crow": images(1, seed=2), "jay": images(1, seed=1)}
    with pytest.raises(error, match=sentence):
        counterfactual(tiny_encoder(), images(seed=1), supports, **choice)


def test_it_takes_two_classes_and_one_query():
    encoder, query, supports = tiny_encoder(), images(seed=1), images(1, 2, seed=2)
    with pytest.raises(ValueError, match="a counterfactual needs at least two classes, but the supports hold one; add"):
        counterfactual(encoder, query, supports)
    spec = find_spec("fsl_explain.explainers.analysis.counterfactual")
    as_users_have_it = module_from_spec(spec_from_file_location("unchecked_counterfactual", spec.origin))
    as_users_have_it.__spec__.loader.exec_module(as_users_have_it)
    with pytest.raises(
        ValueError, match=r"expected one query \(3, H, W\), but got shape \(2, 3, 6, 8\); pass them one"
    ):
        as_users_have_it.counterfactual(encoder, images(2, seed=1), images(2, 1, seed=2))
