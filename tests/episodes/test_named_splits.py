"""The built-in splits: counted, pinned, and recomputed from their rules."""

import re

import numpy as np
import pytest

from episodes.datasets.csv_boxes import CsvBoxes
from episodes.datasets.cub import Cub200
from episodes.split import BUILT_IN, Split, select

COUNTS = {
    "cub-closer-look": (100, 50, 50),
    "cub-frn": (100, 50, 50),
    "cub-retrieval": (100, 0, 100),
    "cub10": (5, 0, 5),
    "digit-scenes": (16, 0, 5),
    "mini-imagenet": (64, 16, 20),
    "omniglot": (964, 0, 659),
    "tiered-imagenet": (351, 97, 160),
    "tiny-imagenet-boxes": (24, 8, 8),
}
HASHES = {
    "cub-closer-look": "fad9c4fdb63043915f9e77cfa8a0e44ee079c02d2cf1979d1859245342fb6d24",
    "cub-frn": "124cbbb4246e3880c6289ae272aea92485b3e9a4febcd80561bf693b1ee4face",
    "cub-retrieval": "dc2dd947f07017dd3e7b03730d255723a9b812f17c2f4ef451b600083bb905fd",
    "cub10": "3637327c709c21d1843045d27a3970408d72ef5046042456c7f2d10f5553058e",
    "digit-scenes": "e0d1d903f50d68a69cf392b684d5661837fa112660b0dba5519f056fe2ab5c0b",
    "mini-imagenet": "cdd38d2f43ae63d24c244b432e2ce88788e955dc102126d97acf90bbb72d863b",
    "omniglot": "ab1ed05c83373de3638860a6d88d1dcae9a160df9d3db52431acfc741cf56cc9",
    "tiered-imagenet": "4a868fabff5fbc8f060148c9413863e4836cefcb8c99584e33f1b0599cb02b06",
    "tiny-imagenet-boxes": "11ca059dc3baabd13abb78c6e1603ffd52bac3b7c1e0f3775ac494b037cd93ee",
}


def all_classes(split):
    return sorted([*split.base, *split.validation, *split.novel])


def by_arithmetic(names, first):
    """The rule of both CUB splits; they differ in the number of the first class alone."""
    parts = {"base": [], "validation": [], "novel": []}
    for number, name in enumerate(names, start=first):
        parts["base" if number % 2 == 0 else "validation" if number % 4 == 1 else "novel"].append(name)
    return Split("x", *(tuple(parts[part]) for part in ("base", "validation", "novel")))


@pytest.fixture(scope="module")
def birds():
    """The 200 official class names; the split of retrieval is their order, so another split gives them."""
    return all_classes(Split.load("cub-closer-look"))


def test_every_built_in_split_is_pinned():
    assert sorted(path.stem for path in BUILT_IN.glob("*.csv")) == sorted(HASHES) == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_hashes(name):
    """Results name the hash of their split; the file may not change under that name."""
    split = Split.load(name)
    assert (len(split.base), len(split.validation), len(split.novel)) == COUNTS[name]
    assert split.sha256 == HASHES[name]


def test_the_names_are_numbered_from_1_to_200(birds):
    assert [int(name[:3]) for name in birds] == list(range(1, 201))
    assert all(re.fullmatch(r"\d{3}\.[A-Z][A-Za-z_]+", name) for name in birds)
    assert (birds[0], birds[99]) == ("001.Black_footed_Albatross", "100.Brown_Pelican")
    assert (birds[100], birds[199]) == ("101.White_Pelican", "200.Common_Yellowthroat")
    for name in ("cub-frn", "cub-retrieval"):
        assert all_classes(Split.load(name)) == birds


@pytest.mark.parametrize(("name", "first"), [("cub-closer-look", 0), ("cub-frn", 1)])
def test_both_cub_splits_follow_from_their_arithmetic(birds, name, first):
    split = by_arithmetic(birds, first)
    assert split.sha256 == Split.load(name).sha256
    assert (split.base, split.novel) == (Split.load(name).base, Split.load(name).novel)


def test_the_retrieval_split_is_the_first_hundred_and_the_rest(birds):
    split = Split.load("cub-retrieval")
    assert (split.base, split.novel) == (tuple(birds[:100]), tuple(birds[100:]))


def test_what_one_cub_split_trains_on_the_other_is_judged_by():
    """Weights trained on FRN's base classes have seen every novel class of A Closer Look."""
    closer_look, frn = Split.load("cub-closer-look"), Split.load("cub-frn")
    assert set(closer_look.novel) <= set(frn.base)
    assert len(set(closer_look.novel) & set(frn.base)) == 50
    with pytest.raises(ValueError, match=r"class '004\.Groove_billed_Ani' stands in base and in novel"):
        Split("mixed", frn.base, (), closer_look.novel)


def test_mini_imagenet_holds_a_class_of_each_of_the_papers_parts():
    split = Split.load("mini-imagenet")
    assert all(re.fullmatch(r"n\d{8}", name) for name in all_classes(split))
    assert "n01532829" in split.base  # house finch
    assert "n01855672" in split.validation  # goose
    assert "n01930112" in split.novel  # nematode


def test_tiered_imagenet_keeps_kinds_apart():
    """Its parts are groups of the WordNet hierarchy: all terriers train, all retrievers validate."""
    split = Split.load("tiered-imagenet")
    assert {"n02093256", "n02093428", "n02094114"} <= set(split.base)
    assert {"n02099267", "n02099429", "n02099601"} <= set(split.validation)
    assert {"n07714571", "n07747607", "n09256479"} <= set(split.novel)


def test_omniglot_is_split_by_alphabet():
    split = Split.load("omniglot")
    alphabets = [{name.split("/")[0] for name in part} for part in (split.base, split.novel)]
    assert [len(names) for names in alphabets] == [30, 20]
    assert not alphabets[0] & alphabets[1]
    assert sum(name.startswith("Greek/") for name in split.base) == 24
    assert "ULOG/character26" in split.novel


@pytest.mark.real
def test_the_ten_species_take_turns(cub10):
    birds = Cub200(cub10)
    split = Split.load("cub10")
    assert (split.base, split.novel) == (birds.classes[0::2], birds.classes[1::2])
    assert len(select(birds, split.base)) + len(select(birds, split.novel)) == len(birds)


@pytest.mark.real
def test_the_forty_classes_are_drawn_by_a_seed(tiny_imagenet_boxes):
    photographs = CsvBoxes(tiny_imagenet_boxes, label="name")
    drawn = [photographs.classes[index] for index in np.random.default_rng(0).permutation(40)]
    split = Split.load("tiny-imagenet-boxes")
    assert split.base == tuple(sorted(drawn[:24]))
    assert split.validation == tuple(sorted(drawn[24:32]))
    assert len(select(photographs, split.novel)) == 8 * 40
