"""Runs that only measure fold batch normalization by themselves, unless a method would see the difference."""

import json

import pytest
import torch
from small_settings import DATA, SETTINGS, SMALL

from episodes import DigitScenes
from fsl_explain import Encoder, explain
from fsl_explain.cli.app import run
from fsl_explain.cli.measuring import encoder_for_methods
from fsl_explain.config import EncoderConfig
from fsl_explain.registries import METHODS, TOKEN_METHODS
from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run as run_retrieval

OF_MAPS = [name for name in METHODS if name not in TOKEN_METHODS]
CONFIG = EncoderConfig(architecture={"channels": 6, "size": 42, "seed": 2})


def described(out):
    return json.loads((out / "summary.json").read_text())["provenance"]["encoder"]


@pytest.fixture(scope="module")
def forms():
    """The network and its folded copy, with biases in front of a normalization that does something."""
    itself = Encoder.from_config(CONFIG)
    generator = torch.Generator().manual_seed(0)
    for module in itself.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    folded = Encoder(itself.network, pooling=itself.pooling, preprocess=itself.transform, inference="folded")
    return itself, folded


@pytest.mark.parametrize("name", OF_MAPS)
def test_a_method_that_would_see_the_folding_keeps_the_network_as_it_is(name, forms):
    chosen = encoder_for_methods(CONFIG, ("exact", name)).inference
    assert chosen == ("eager" if METHODS[name].differentiates else "folded")
    if chosen == "eager":
        return
    generator = torch.Generator().manual_seed(1)
    query, supports = (torch.randn(*shape, 3, 42, 42, generator=generator) for shape in ((2,), (3, 2)))
    options = {"threshold": 0.1} if METHODS[name].explains == "verification" else {}
    expected, found = (explain(one, query, supports, method=name, **options).cells.double() for one in forms)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_full_gradients_see_it(forms):
    query, supports = torch.rand(1, 3, 42, 42), torch.rand(3, 2, 3, 42, 42)
    expected, found = (explain(one, query, supports, method="fullgrad").cells.double() for one in forms)
    assert (found - expected).norm() > 1e-2 * expected.norm()


@pytest.mark.parametrize("command", ["evaluate", "compare", "mosaics"])
def test_a_command_says_that_it_folds(command, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(DATA + SMALL + SETTINGS[command], encoding="utf-8")
    said = {"a": [], "b": ["--set", "encoder.inference=eager"]}
    for name, options in said.items():
        assert run([command, "--config", str(config), "--out", str(tmp_path / name), *options]) == 0
    assert described(tmp_path / "a").endswith(", folded)")
    assert "folded" not in described(tmp_path / "b")


def test_a_stored_bank_is_searched_by_the_network_that_filled_it(tmp_path):
    images = DigitScenes(part="novel", per_class=3, size=32)
    MemoryBank.build(Encoder.named("conv4net", channels=4, size=32), images, directory=tmp_path / "bank")
    text = DATA + SMALL + SETTINGS["retrieval"]
    galleries = {"images": "", "bank": f'[gallery]\nkind = "bank"\ndirectory = "{tmp_path / "bank"}"\n'}
    for name, gallery in galleries.items():
        config = tmp_path / f"{name}.toml"
        config.write_text(text + gallery, encoding="utf-8")
        assert run_retrieval(["evaluate", "--config", str(config), "--out", str(tmp_path / name)]) == 0
    assert described(tmp_path / "images").endswith(", folded)")
    assert "folded" not in described(tmp_path / "bank")
