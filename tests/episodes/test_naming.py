import pytest
from unchecked import loaded_without_shape_checks

from episodes.naming import nearest, unknown_name


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known():
    error = unknown_name("split", "digit-scene", ["cub", "digit-scenes"])
    assert isinstance(error, LookupError)
    assert str(error) == "unknown split 'digit-scene'; did you mean 'digit-scenes'? Known: cub, digit-scenes"


def test_up_to_three_near_names_are_offered():
    error = unknown_name("encoder", "resnet1", ["resnet10", "resnet12", "resnet18", "resnet50", "conv4net"])
    assert str(error).count("resnet") == 1 + 3 + 4


def test_a_name_near_to_none_gets_no_suggestion():
    assert str(unknown_name("split", "zzz", ["cub"])) == "unknown split 'zzz'. Known: cub"


def test_nothing_known_is_said_plainly():
    assert "there is none" in str(unknown_name("split", "cub", []))


@pytest.mark.parametrize(("asked", "shown"), [("class-7x", "'class-7'"), ("zzz", "class-0, class-1")])
def test_many_known_names_are_not_all_listed(asked, shown):
    message = str(unknown_name("class", asked, [f"class-{number}" for number in range(100)]))
    assert shown in message
    assert len(message) < 130


def test_what_is_no_name_is_unknown_too():
    unchecked = loaded_without_shape_checks("episodes.naming")
    assert str(unchecked.unknown_name("edit", None, ["replace"])) == "unknown edit None. Known: replace"


def test_case_does_not_count():
    assert nearest("RESNET18", ["conv4net", "resnet18"]) == "resnet18"
    assert nearest("zzz", ["conv4net"]) is None
