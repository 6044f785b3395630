"""Archives of TorchScript, as OpenAI published CLIP: their weights are read as data, whatever code lies beside them."""

import warnings

import pytest
import torch

from episodes.errors import Mistake
from fsl_explain import Encoder
from fsl_explain.backbones.weights.checkpoint import read_state
from fsl_explain.backbones.weights.pickle_names import DamagedFileError, Inert
from fsl_explain.backbones.weights.torchscript import scripted_state

open_clip = pytest.importorskip("open_clip", reason="the extra 'open-clip' is not installed")

VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
SMALL = {"embed_dim": 12, "vision_cfg": VIT, "text_cfg": TEXT}
QUICK, PLAIN = "small-quickgelu", "small"
AS_OPENAI = ("input_resolution", "context_length", "vocab_size")


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Let open_clip know models that are quick to build."""
    known = {PLAIN: SMALL, QUICK: {**SMALL, "quick_gelu": True}}
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {**open_clip.factory._MODEL_CONFIGS, **known})


def published(path, way, half=False, openai=True):
    """Write a model as an archive of TorchScript, and return it."""
    torch.manual_seed(3)
    model = open_clip.create_model(QUICK).eval()
    model = model.half().float() if half else model  # weights that half precision has
    for name in AS_OPENAI if openai else ():
        model.__dict__.pop(name, None)
        model.register_buffer(name, torch.tensor(32))
    given = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 8, dtype=torch.long))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model) if way == "script" else torch.jit.trace(model, given, check_trace=False)
        (scripted.half() if half else scripted).save(str(path))
    return model.float()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("way", ["script", "trace"])
def test_an_archive_is_a_file_of_weights(tmp_path, way, half):
    path = tmp_path / "small.pt"
    model = published(path, way, half)
    encoder = Encoder.named(f"open_clip:{QUICK}/{path}")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encoder(images).embedding, model.encode_image(images), rtol=1e-4, atol=1e-5)
    assert encoder.random == ()


def test_the_tensors_are_those_that_pytorch_itself_reads(tmp_path):
    path = tmp_path / "small.pt"
    published(path, "script")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(str(path)).state_dict()
    found = read_state(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_weights_of_openai_ask_for_their_activation(tmp_path):
    path = tmp_path / "small.pt"
    published(path, "script")
    with pytest.raises(Mistake, match=f"QuickGELU; use open_clip:{QUICK}"):
        Encoder.named(f"open_clip:{PLAIN}/{path}")


def test_other_weights_are_taken_by_either(tmp_path):
    path = tmp_path / "small.pt"
    published(path, "script", openai=False)
    assert Encoder.named(f"open_clip:{PLAIN}/{path}").random == ()


def test_modules_that_hold_themselves_are_refused():
    module = Inert("__torch__.Net")
    module.state["inner"] = module
    with pytest.raises(DamagedFileError, match="no end"):
        scripted_state(module)
