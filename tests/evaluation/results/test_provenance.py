"""Whatever changes a figure changes the fingerprint of its run."""

import pytest
import torch
from safetensors.torch import save_file

from episodes import DigitScenes
from fsl_explain import Encoder
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.cli.measuring import recorded as recorded_by
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation.results.written import fingerprint

BASE = {
    "data": {"kind": "digit-scenes", "per_class": 4},
    "encoder": {"name": "conv4net"},
    "episodes": {"count": 4, "n_query": 2},
    "explanation": {"methods": ["exact"]},
}


def recorded(dataset=None, encoder=None, **sections):
    settings = EvaluationConfig.model_validate(BASE | sections)
    dataset = dataset or DigitScenes(part="novel", per_class=4, size=32)
    return recorded_by(settings, encoder or Encoder.named("conv4net", channels=4, size=32), dataset)


@pytest.mark.parametrize(
    "sections",
    [
        {"episodes": {"count": 4, "n_query": 2, "seed": 1}},
        {"episodes": {"count": 4, "n_query": 2, "n_shot": 2}},
        {"explanation": {"methods": ["exact"], "masking": "black"}},
        {"explanation": {"methods": ["fam"]}},
        {"decision": {"similarity": "euclidean"}},
    ],
    ids=str,
)
def test_every_setting_counts_but_the_number_of_episodes_and_how_it_was_run(sections):
    assert fingerprint(recorded(**sections)) != fingerprint(recorded())
    longer = recorded(episodes={"count": 40, "n_query": 2}, run={"batch_size": 3})
    assert fingerprint(longer) == fingerprint(recorded())


def test_other_labels_and_other_names_of_as_many_images_count():
    plain, relabeled, renamed = (DigitScenes(part="novel", per_class=4, size=32) for _ in range(3))
    relabeled.labels = relabeled.labels[::-1].copy()
    assert (len(relabeled), relabeled.classes) == (len(plain), plain.classes)
    assert fingerprint(recorded(relabeled)) != fingerprint(recorded(plain))
    renamed.classes = tuple(reversed(plain.classes))
    assert fingerprint(recorded(renamed)) != fingerprint(recorded(plain))


def test_other_weights_under_the_same_name_count(tmp_path):
    records, sums = [], []
    for seed in range(2):
        path = tmp_path / str(seed) / "weights.safetensors"
        path.parent.mkdir()
        state = Encoder.named("conv4net", channels=4, size=32, seed=seed).network.state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, path)
        encoder = Encoder.named("conv4net", checkpoint=path, channels=4, size=32)
        records.append(with_weights(path, encoder))
        sums.append(sha256_of(path))
    assert [record["checkpoint_sha256"] for record in records] == sums
    assert records[0]["config"]["encoder"]["checkpoint"] == "weights.safetensors"
    assert fingerprint(records[0]) != fingerprint(records[1])
    assert fingerprint(records[0] | {"encoder": ""}) != fingerprint(records[1] | {"encoder": ""})


def with_weights(path, encoder):
    settings = EvaluationConfig.model_validate(BASE | {"encoder": {"name": "conv4net", "checkpoint": str(path)}})
    return recorded_by(settings, encoder, DigitScenes(part="novel", per_class=4, size=32))


def test_the_encoder_is_recorded_as_it_describes_itself():
    """A module given by its user has no name in the settings."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3))
    encoder = Encoder.wrap(network, "0")
    assert recorded(encoder=encoder)["encoder"] == encoder.description
    assert fingerprint(recorded(encoder=encoder)) != fingerprint(recorded())
