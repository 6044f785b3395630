"""Every method on every readout of tokens: figures of all images, or one sentence before any image is read."""

import re

import jaxtyping
import pytest
import torch
from token_networks import token_encoder

from episodes import DigitScenes, direct_resize, select
from episodes.errors import Mistake
from fsl_explain.evaluation.comparison.compared_images import compared_methods
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.figures import OF_MAPS
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.explainers.methods.relax import RelaxOptions

SIDE = 32
READOUTS = ("class", "class-direct", "class-last", "mean", "class+mean")
ASKED = [name for name, method in METHODS.items() if method.needs_no_option] + [CLASS_LOGIT.name]
DATASET = DigitScenes(part="novel", per_class=2, size=SIDE)
FEW = select(DATASET, DATASET.classes[:3])
NETWORKS = {"norm before the mean": "timm mean, norm before", "registers": "timm registers"}
CASES = [*(("registers", readout) for readout in READOUTS), ("norm before the mean", "mean")]
ANSWERING = {"exact", "contrast", "grad-cam", "grad-cam++", "xgrad-cam", "layercam", "chefer", "rollout", "relax"}


@pytest.fixture(autouse=True)
def unchecked_shapes(monkeypatch):
    """The receipts' tests check the shapes of the same calls."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}, {case[1]}")
def encoder(request):
    network, readout = request.param
    prepared = direct_resize(SIDE, (0.5,) * 3, (0.25,) * 3)
    return token_encoder(NETWORKS[network], readout, torch.float32, preprocess=prepared)


class Unreadable(DigitScenes):
    """Scenes of which none may be read."""

    def __getitem__(self, position, /):
        raise AssertionError(f"read image {position}")


def refusal(encoder, name):
    try:
        compared_methods([name])[name].expects(encoder)
    except Mistake as refused:
        return str(refused)
    return None


def test_figures_or_a_sentence_before_any_work(encoder):
    said = {name: refusal(encoder, name) for name in ASKED}
    fitting = [name for name, sentence in said.items() if sentence is None]
    assert set(fitting) >= ANSWERING
    given = {
        "shots": 1,
        "sample": 1,
        "relax": RelaxOptions(masks=4, batch_size=8),
        "figures": ("reference_correlation", *OF_MAPS),
    }
    found = compare_maps(encoder, FEW, methods=fitting, **given)
    assert set(found.methods) == {*fitting, *compared_methods([])}
    for place, name in enumerate(found.methods):
        said_something = bool(found.figures[OF_MAPS[0]][place, found.sampled].isfinite().any())
        assert said_something or name not in ANSWERING, name
    unread = Unreadable(part="novel", per_class=2, size=SIDE)
    for name in set(ASKED) - set(fitting):
        assert said[name].endswith(".")
        assert not re.search(r"\. [A-Z]", said[name])
        with pytest.raises(Mistake, match=re.escape(said[name])):
            compare_maps(encoder, unread, methods=[name], **given)
