"""What a file may say of the classes that its weights were trained on: texts, or nothing at all."""

import json

import pytest
from safetensors.torch import save_file

from fsl_explain import Encoder
from fsl_explain.backbones import Conv4Net
from fsl_explain.backbones.weights.loading import trained_on
from fsl_explain.backbones.weights.trained_on import TrainedOn

LEARNED = {"data": "cub", "split": "cub-frn", "classes": ["a", "b"]}
MISTAKES = [
    LEARNED,
    None,
    "a",
    {"a": 1},
    ["a"],
    [None],
    [[LEARNED]],
    [LEARNED | {"classes": "ab"}],
    [LEARNED | {"classes": ["a", 1]}],
    [LEARNED | {"classes": {"a": 1}}],
    [LEARNED | {"classes": None}],
    [LEARNED | {"data": None}],
    [LEARNED | {"split": 3}],
    [LEARNED | {"checkpoint": "other"}],
    [{name: value for name, value in LEARNED.items() if name != "split"}],
    [LEARNED] * 4097,
]


def written(tmp_path, **said):
    path = tmp_path / "weights.safetensors"
    text = json.dumps({"network": "conv4net", "settings": {"channels": 2}} | said)
    save_file(Conv4Net(channels=2).state_dict(), path, metadata={"fsl_explain": text})
    return path


def test_it_is_read_and_old_files_say_nothing(tmp_path):
    other = {"data": "csv", "split": None, "classes": ["c"]}
    path = written(tmp_path, trained_on=[LEARNED, other])
    assert trained_on(path) == (TrainedOn("cub", "cub-frn", ("a", "b")), TrainedOn("csv", None, ("c",)))
    assert "conv4net" in Encoder.named("conv4net", checkpoint=path).description
    assert trained_on(written(tmp_path, trained_on=[])) == ()
    assert trained_on(written(tmp_path)) == ()
    assert trained_on(None) == ()
    save_file(Conv4Net(channels=2).state_dict(), tmp_path / "plain.safetensors")
    assert trained_on(tmp_path / "plain.safetensors") == ()


@pytest.mark.parametrize("value", MISTAKES, ids=lambda value: repr(value)[:60])
def test_anything_else_is_a_damaged_manifest(tmp_path, value):
    path = written(tmp_path, trained_on=value)
    with pytest.raises(ValueError, match=r"the manifest of a converted checkpoint in .*, but it is damaged; convert"):
        Encoder.named("conv4net", checkpoint=path)
