"""Tables of names: loaded late, read everywhere."""

import string
import sys

import pytest

from episodes.errors import Mistake
from episodes.registry import Registry


def test_a_member_is_imported_when_it_is_first_asked_for():
    sys.modules.pop("this", None)
    table = Registry("letter", {"a": "string:ascii_letters", "b": "string"})
    assert list(table) == ["a", "b"]
    assert len(table) == 2
    assert table["a"].startswith("abc")
    assert table["b"].digits == "0123456789"


def test_names_are_listed_and_checked_without_loading():
    table = Registry("thing", {"one": "no_such_module_anywhere"})
    assert table.checked("one") == "one"
    assert "one" in table
    assert "two" not in table
    assert table.get("two") is None
    with pytest.raises(ModuleNotFoundError):
        table["one"]


def test_an_unknown_name_is_a_mistake_with_the_nearest_one():
    table = Registry("similarity", {"cosine": 1})
    for look_up in (table.__getitem__, table.checked, table.find, table.name_of, table.__delitem__):
        with pytest.raises(Mistake, match=r"unknown similarity 'cosin'; did you mean 'cosine'\? Known: cosine"):
            look_up("cosin")
    with pytest.raises(LookupError):
        table["x"]


def test_names_beside_the_members_are_checked_and_listed():
    table = Registry("similarity", {"cosine": 1, "euclidean": 2})
    assert table.checked("mahalanobis", "mahalanobis") == "mahalanobis"
    assert table.listed() == "cosine or euclidean"
    assert table.listed("mahalanobis") == "cosine, euclidean or mahalanobis"
    assert Registry("thing", {"one": 1}).listed() == "one"
    with pytest.raises(Mistake, match=r"did you mean 'mahalanobis'\? Known: cosine, euclidean, mahalanobis"):
        table.checked("mahalanobs", "mahalanobis")


def test_a_late_member_has_its_name_before_it_is_asked_for():
    table = Registry("module", {"absent": "no_such_module_anywhere", "text": "string"})
    assert table.name_of(string) == "text"
    assert table.name_of(sys) is None


def test_members_and_others_as_a_dict():
    table = Registry("number", {"one": "string:digits"})
    assert table | {"two": "2"} == {"one": "0123456789", "two": "2"}
    assert list(table) == ["one"]


def test_a_registration_adds_a_member_under_its_name():
    table = Registry("number", {"one": 1})
    table["two"] = two = object()
    assert table.find("two") is two
    assert table.find(two) is two
    assert table.name_of(two) == "two"
    assert table.name_of(object()) is None
    del table["two"]
    assert list(table) == ["one"]


@pytest.mark.parametrize(("given", "got"), [(3, "3"), (None, "None"), (dict, r"the class dict; write dict\(…\)")])
def test_a_class_or_a_number_is_no_member(given, got):
    table = Registry("rule", {"prototype": object()})
    with pytest.raises(TypeError, match=rf"expected a rule by name or as an object, but got {got}"):
        table.find(given)
