"""Which classes a training learns, and what is said of them when they are met again."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tiny_training import OBJECTIVES, NoiseImages, settings

from fsl_explain.backbones import Conv4Net
from fsl_explain.backbones.weights.trained_on import TrainedOn
from fsl_explain.cli.seen import check_evaluated, check_tested, learned_by
from fsl_explain.config import EncoderConfig
from fsl_explain.config.data import DigitScenesData
from fsl_explain.training import Unfinished, recorded_settings

WITHOUT_LABELS = ("NPID", "NPID, full", "MoCo")
SCENES = {"kind": "digit-scenes", "digits": "base", "per_class": 2}


def data_of(split=None, part="novel"):
    return DigitScenesData(kind="digit-scenes", split=split, part=part)


@pytest.fixture
def weights(tmp_path):
    def write(*learned):
        path = tmp_path / "w.safetensors"
        manifest = {"network": "conv4net", "settings": {}, "trained_on": list(learned)}
        save_file(Conv4Net(channels=2).state_dict(), path, metadata={"fsl_explain": json.dumps(manifest)})
        return EncoderConfig(checkpoint=path)

    return write


def learned(*classes, split=None):
    return {"data": "csv", "split": split, "classes": list(classes)}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_with_labels_learns_the_classes(objective):
    found = learned_by(settings(objective), NoiseImages())
    expected = () if objective in WITHOUT_LABELS else (TrainedOn("digit-scenes", None, NoiseImages().classes),)
    assert found == expected


def test_of_a_split_in_a_file_its_name_is_kept(tmp_path):
    config = settings("margin", data=SCENES | {"split": str(tmp_path / "mine.csv")})
    assert learned_by(config, NoiseImages())[0].split == "mine.csv"


def test_equal_names_are_equal_classes_whatever_the_data_set(weights):
    sentence = (
        r"^expected classes in \[data\] that are not in the training of w.safetensors, but 2 of the 4 are "
        r"\(bee, dog\); choose other classes, or measure classes seen in training with --set "
        r"encoder.seen_classes=allow, which the results will state\.$"
    )
    with pytest.raises(ValueError, match=sentence):
        check_evaluated(weights(learned("dog", "eel"), learned("bee")), data_of(), NoiseImages())


def test_what_is_allowed_is_stated(weights):
    allowed = weights(learned("dog", "cow", "bee", "ant")).model_copy(update={"seen_classes": "allow"})
    seen = check_evaluated(allowed, data_of(), NoiseImages())
    assert seen.sentences == ("The encoder was trained on 4 of the 4 classes (ant, bee, cow, …).",)
    assert seen.recorded == {"classes_seen_in_training": ["ant", "bee", "cow", "dog"]}


@pytest.mark.parametrize(("known", "recorded"), [((), None), ((learned("eel"),), [])], ids=["unknown", "others"])
def test_nothing_is_said_of_classes_that_were_not_met(weights, known, recorded):
    seen = check_evaluated(weights(*known), data_of(), NoiseImages())
    assert seen.sentences == ()
    assert seen.recorded == {"classes_seen_in_training": recorded}


def test_random_weights_know_no_class():
    assert check_evaluated(EncoderConfig(), data_of(), NoiseImages()).names is None


@pytest.mark.parametrize(
    ("splits", "data", "advice"),
    [
        (["mine.csv"], data_of(), "choose the split of that training with --set data.split=mine.csv"),
        (
            ["mine.csv"],
            data_of("/data/mine.csv", "base"),
            "choose another part of their split with --set data.part=nov",
        ),
        (["mine.csv"], data_of("/data/mine.csv"), "choose another part of their split with --set data.part=base"),
        (["one", None], data_of("two"), "choose the split of that training with --set data.split=one"),
        (["one", "two"], data_of("one"), "choose other classes, or"),
        ([None], data_of("one"), "choose other classes, or"),
    ],
)
def test_the_advice_names_the_split_where_there_is_one(weights, splits, data, advice):
    known = [learned("ant", split=split) for split in splits]
    with pytest.raises(ValueError, match=rf"1 of the 4 are \(ant\); {advice}"):
        check_evaluated(weights(*known), data, NoiseImages())


def test_a_training_without_a_test_has_nothing_to_compare():
    assert check_tested(settings("margin"), [TrainedOn("csv", None, ("ant",))]) is None


def test_what_the_test_allows_changes_no_weight(tmp_path):
    """A training that was begun goes on, and its JSON is the same."""
    output = str(tmp_path / "w.safetensors")
    plain = settings("margin", output)
    allowing = settings("margin", output, encoder={"seen_classes": "allow"})
    assert recorded_settings(plain) == recorded_settings(allowing)
    assert Unfinished.of(plain, {}) == Unfinished.of(allowing, {})
    assert Path(output).with_suffix(".unfinished") == Unfinished.of(plain, {}).path
