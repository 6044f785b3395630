import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from episodes.annotation import box_mask, mask_box
from episodes.datasets.digit_scenes import LUMINANCE, DigitScenes, _handwriting, _ink, _paint
from episodes.labeled_image import LabeledImages


def pixels(labeled):
    return np.asarray(labeled.image)


def test_the_parts_share_no_digit():
    base, novel = DigitScenes(part="base", per_class=1), DigitScenes(part="novel", per_class=1)
    assert {name[0] for name in base.classes} == set("23457")
    assert novel.classes == ("0", "1", "6", "8", "9")
    assert len(base.classes) == 16
    assert "3 turned 270°" in base.classes
    assert "5 turned 180°" not in base.classes


def test_it_is_a_data_set():
    scenes = DigitScenes(part="novel", per_class=3)
    assert isinstance(scenes, LabeledImages)
    assert len(scenes) == len(scenes.labels) == len(scenes.paths) == 15
    assert np.bincount(scenes.labels).tolist() == [3] * 5
    assert all(labeled.label == label for labeled, label in zip(scenes, scenes.labels, strict=True))
    assert scenes[-1].class_name == "9"
    with pytest.raises(IndexError, match="out of range"):
        scenes[15]


@given(st.lists(st.integers(0, 99), max_size=4), st.integers(0, 99), st.integers(0, 5))
def test_a_scene_is_the_same_whatever_was_drawn_before(drawn_before, position, seed):
    scenes = DigitScenes(part="base", seed=seed)
    for other in drawn_before:
        scenes[other]
    assert np.array_equal(pixels(scenes[position]), pixels(DigitScenes(part="base", per_class=7, seed=seed)[position]))


def test_another_seed_or_part_is_another_scene():
    assert not np.array_equal(pixels(DigitScenes(seed=0)[0]), pixels(DigitScenes(seed=1)[0]))
    assert not np.array_equal(pixels(DigitScenes(part="base")[0]), pixels(DigitScenes(part="novel")[0]))


@pytest.mark.parametrize("size", [32, 84, 224])
def test_box_and_mask_say_where_the_digit_is(size):
    scenes = DigitScenes(part="base", per_class=3, size=size)
    for labeled in scenes:
        assert labeled.image.size == (size, size)
        assert labeled.mask.shape == (size, size)
        assert torch.equal(labeled.boxes, mask_box(labeled.mask[None]))
        left, top, right, bottom = (labeled.boxes[0] / size).tolist()
        assert max(right - left, bottom - top) <= 0.75
        assert max(right - left, bottom - top) >= 0.15


def test_the_digit_is_painted_under_its_mask_and_nowhere_else(monkeypatch):
    """Without its paint the scene is the bare photograph: they differ on the mask, and nowhere beyond its soft edge."""
    scenes = DigitScenes(part="novel", per_class=8)
    painted = [(pixels(labeled).astype(int), labeled.mask.numpy()) for labeled in scenes]
    monkeypatch.setattr("episodes.datasets.digit_scenes._paint", lambda *_: None)
    for (scene, mask), bare in zip(painted, scenes, strict=True):
        changed = np.abs(scene - pixels(bare)).max(axis=2)
        assert (changed[mask] > 5).mean() > 0.95
        near = np.zeros_like(mask)
        for down, across in np.ndindex(7, 7):
            near |= np.roll(mask, (down - 3, across - 3), axis=(0, 1))
        assert not changed[~near].any()
        assert changed[mask].mean() > 45


def test_the_mask_is_where_ink_covers_more_than_half(monkeypatch):
    def white_on_black(pixels, ink, top, left, _chance):
        pixels[:] = 0
        pixels[top : top + ink.shape[0], left : left + ink.shape[1]] = 255 * ink[..., None]

    monkeypatch.setattr("episodes.datasets.digit_scenes._paint", white_on_black)
    for labeled in DigitScenes(part="base", per_class=2):
        assert np.array_equal(pixels(labeled)[:, :, 0] > 127, labeled.mask.numpy())


@pytest.mark.parametrize(("gray", "least"), [(0, 0.34), (128, 0.2), (255, 0.34)])
def test_ink_stands_out(gray, least):
    for seed in range(60):
        below = np.full((4, 4, 3), gray, dtype=np.float32)
        _paint(below, np.ones((4, 4), dtype=np.float32), 0, 0, np.random.default_rng(seed))
        assert abs(float(below[0, 0] @ LUMINANCE) - gray) > least * 255


def test_a_turn_is_a_quarter_turn():
    source = _handwriting()[7][0]
    for turn in range(4):
        assert np.array_equal(_ink(source, turn, 40), np.rot90(_ink(source, 0, 40), turn))


def test_the_mask_has_the_digits_holes():
    """A picture's meaning: a zero has a hole in its middle, a one has none."""
    scenes = DigitScenes(part="novel", per_class=30)
    filled = {"0": [], "1": []}
    for labeled in scenes:
        if labeled.class_name in filled:
            left, top, right, bottom = labeled.boxes[0].int().tolist()
            filled[labeled.class_name].append(bool(labeled.mask[(top + bottom) // 2, (left + right) // 2]))
    assert np.mean(filled["0"]) < 0.1
    assert np.mean(filled["1"]) > 0.8


def test_no_handwriting_comes_twice_before_all_came_once():
    scenes = DigitScenes(part="novel", per_class=1)
    count = len(_handwriting()[0])
    laps = [[scenes._source(0, lap * count + number).tobytes() for number in range(count)] for lap in range(2)]
    assert len(set(laps[0])) == len({source.tobytes() for source in _handwriting()[0]})
    assert sorted(laps[0]) == sorted(laps[1])
    assert laps[0] != laps[1]


def test_digits_stand_anywhere():
    boxes = torch.cat([labeled.boxes for labeled in DigitScenes(part="novel", per_class=40)])
    assert boxes.min() <= 1
    assert boxes.max() >= 83
    assert (boxes[:, :2].std(dim=0) > 10).all()


def test_a_distractor_is_another_digit_clear_of_the_target():
    plain, distracted = (
        DigitScenes(part="novel", per_class=20),
        DigitScenes(part="novel", per_class=20, distractor=True),
    )
    for without, with_other in zip(plain, distracted, strict=True):
        assert torch.equal(without.mask, with_other.mask)
        assert torch.equal(without.boxes, with_other.boxes)
        changed = (pixels(without) != pixels(with_other)).any(axis=2)
        assert changed.sum() > 30
        inside = box_mask(with_other.boxes, 84, 84)[0].numpy()
        assert not (changed & inside).any()


def test_a_distractor_is_of_any_other_class(monkeypatch):
    digit_of = {source.tobytes(): digit for digit, sources in _handwriting().items() for source in sources}
    drawn = []

    def recorded(source, turn, side):
        drawn.append((digit_of[source.tobytes()], turn))
        return _ink(source, turn, side)

    monkeypatch.setattr("episodes.datasets.digit_scenes._ink", recorded)
    pairs = set()
    for labeled in DigitScenes(part="base", per_class=6, distractor=True):
        target, *tries = drawn
        assert labeled.class_name == f"{target[0]} turned {90 * target[1]}°" or target[1] == 0
        assert target not in tries
        pairs.update((target, other) for other in tries)
        drawn.clear()
    assert len({other for _, other in pairs}) == 16
    assert all(len({other for first, other in pairs if first == target}) > 2 for target, _ in pairs)


def test_the_smallest_distractor_fits_beside_the_largest_digit(monkeypatch):
    """Were digits full squares, there would still be room."""
    monkeypatch.setattr(
        "episodes.datasets.digit_scenes._ink", lambda _source, _turn, side: np.ones((side, side), np.float32)
    )
    monkeypatch.setattr("episodes.datasets.digit_scenes.DIGIT_SHARES", (0.52, 0.52))
    for size in (32, 84):
        assert all(labeled.mask.any() for labeled in DigitScenes(part="base", per_class=4, size=size, distractor=True))


@pytest.mark.parametrize("option", ["per_class", "seed", "size"])
def test_bad_sizes(option):
    with pytest.raises(ValueError, match=f"{option} should be at least .*, got -1"):
        DigitScenes(**{option: -1})


def test_an_unknown_part():
    with pytest.raises(LookupError, match="unknown part of digit-scenes 'bas'; did you mean 'base'"):
        DigitScenes(part="bas")
