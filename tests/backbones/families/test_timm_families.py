"""Networks of timm: each family is read as it reads itself or refused, and its images are prepared as timm does it."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fsl_explain import Encoder, explain
from fsl_explain.backbones.families import family
from fsl_explain.backbones.families.own_feature import own_reading, probe_image
from fsl_explain.backbones.families.timm_models import preprocessing_of, renamed
from fsl_explain.backbones.weights.key_maps import OURS
from fsl_explain.backbones.weights.loading import Checkpoint, load_weights, open_checkpoint
from fsl_explain.backbones.weights.renamed import renamed as weights_renamed

timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")

CONVOLUTIONAL = (
    "resnet10t", "seresnet18", "skresnet18", "resnetv2_18", "nf_regnet_b0", "regnetx_002", "regnety_002", "repvgg_a0",
    "convnext_atto", "convnextv2_atto", "convmixer_768_32", "poolformer_s12", "convformer_s18", "inception_next_atto",
    "efficientnet_lite0", "tf_efficientnetv2_b0", "mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small",
    "mnasnet_small", "lcnet_050", "tinynet_e", "ghostnet_050", "densenet121", "starnet_s1", "repvit_m0_9",
    "efficientvit_b0", "efficientvit_m0", "shvit_s1", "fastvit_t8", "rexnet_100", "ese_vovnet19b_dw", "dla34", "dpn68",
)  # fmt: skip
MIXED = (
    "mobilevit_xxs", "mobilevitv2_050", "edgenext_xx_small", "pvt_v2_b0", "tiny_vit_5m_224", "swiftformer_xs",
    "efficientformerv2_s0", "visformer_tiny", "gcvit_xxtiny", "caformer_s18",
)  # fmt: skip
CHANNELS_LAST = ("swin_tiny_patch4_window7_224", "mambaout_femto", "nest_tiny")
OF_TOKENS = ("levit_128s", "gmlp_ti16_224")
REFUSED = ("resnet50_clip", "coat_tiny")
AXES = dict.fromkeys(CHANNELS_LAST, (1, 2)) | dict.fromkeys(OF_TOKENS, (1,))


def shaken(name):
    """Return a network, by its name or as it is, none of whose layers does nothing."""
    network = timm.create_model(name, num_classes=0).eval() if isinstance(name, str) else name
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for at, values in (*network.named_parameters(), *network.named_buffers()):
            if values.is_floating_point():
                noise = 0.02 * torch.randn(values.shape, generator=generator)
                values.mul_(1 + noise.abs()) if "var" in at else values.add_(noise)
    return network


def side_of(network):
    return timm.data.resolve_model_data_config(network)["input_size"][-1]


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, *MIXED, *CHANNELS_LAST, *OF_TOKENS])
def test_the_embedding_is_the_networks_own_output(name):
    network = shaken(name)
    image = probe_image(side_of(network), network)
    reading, found = own_reading(network, image, classifies=False)
    assert found.holds, found
    kept = []
    hook = network.get_submodule(reading.layer).register_forward_hook(lambda *given: kept.append(given[2].clone()))
    with torch.no_grad():
        feature = network(image.flip(-1))
        hook.remove()
        pooled = kept[0].mean(dim=AXES.get(name, (2, 3)))
        ours = pooled if reading.head is None else reading.head.eval()(pooled)
    torch.testing.assert_close(ours, feature, rtol=1e-4, atol=1e-4 * float(feature.abs().max()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_is_seen(name):
    network = shaken(name)
    _, found = own_reading(network, probe_image(side_of(network), network), classifies=False)
    assert not found.holds


def test_a_convolution_as_large_as_the_maps_is_read_as_a_layer_of_all_cells():
    """VGG of timm; with images of another size it says that the maps do not fit."""
    network = shaken(timm.models.vgg.VGG([6, "M"], num_classes=0).eval())
    image = probe_image(14, network)
    reading, found = own_reading(network, image, classifies=False)
    assert reading.flattened
    assert found.holds, found
    assert not own_reading(network, image, classifies=False, flattens=False)[1].holds
    with pytest.raises(ValueError, match=r"expected maps of 7×7 cells, as large as the convolution behind them, but"):
        reading.head(torch.zeros(1, 6 * 64))


@pytest.mark.parametrize("name", ["convnext_atto", "mambaout_femto", "mobilenetv3_small_050"])
def test_a_network_by_name_has_maps_and_a_receipt(name):
    encoder = Encoder.named(f"timm:{name}")
    assert encoder.description == f"timm:{name} (random weights, seed 0)"
    assert encoder.random == ("network",)
    side = encoder.image_size
    images = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = encoder(images)
        found = explain(encoder, images[0], {"a": images[1:3], "b": images[3:]})
    with torch.no_grad():
        torch.testing.assert_close(features.embedding, encoder.network.eval()(images), rtol=1e-4, atol=1e-5)
    assert min(features.maps.shape[2:]) > 1
    assert found.residual <= 1e-5 * found.absolute_sum


def test_random_weights_depend_on_the_seed_alone():
    first, again, other = (Encoder.named("timm:tinynet_e", seed=seed) for seed in (1, 1, 2))
    weights = [encoder.network.conv_stem.weight for encoder in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("changed", [{}, {"crop_mode": "squash"}, {"crop_mode": "squash", "crop_pct": 1.0}], ids=str)
@pytest.mark.parametrize("name", ["convnext_atto", "tinynet_e", "repvgg_a0", "vit_base_patch16_siglip_224"])
def test_images_are_prepared_as_timm_prepares_them(name, changed):
    facts = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()) | changed
    pixels = np.random.default_rng(0).integers(0, 256, (8, 11, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels).resize((330, 240), Image.Resampling.BICUBIC)
    theirs = timm.data.create_transform(**facts, is_training=False)(photograph)
    ours = preprocessing_of(facts, name).transform(photograph)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 3 / 255 / min(facts["std"])
    assert (ours - theirs).abs().mean() < 0.3 / 255 / min(facts["std"])


def test_size_mean_and_deviation_may_be_given():
    encoder = Encoder.named("timm:tinynet_e", size=64, mean=[0.5] * 3, std=[0.25] * 3)
    assert (encoder.image_size, encoder.normalization) == (64, ([0.5] * 3, [0.25] * 3))
    windowed = Encoder.named("timm:swin_tiny_patch4_window7_224", size=112, tail="ignore")
    assert windowed(torch.rand(1, 3, 112, 112)).maps.shape == (1, 768, 4, 4)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("name", ["convnext_atto", "tinynet_e", "mambaout_femto", "caformer_s18"])
def test_a_checkpoint_of_a_classifier_loads_without_it(tmp_path, name, ending):
    donor, path = timm.create_model(name, num_classes=7), tmp_path / f"weights.{ending}"
    for values in donor.parameters():
        torch.nn.init.normal_(values, std=0.05)
    state = donor.state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state}, path)
    encoder = Encoder.named(f"timm:{name}", checkpoint=path)
    assert all(torch.equal(value, state[at]) for at, value in encoder.network.state_dict().items())
    assert encoder.random == ()
    side = encoder.image_size
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        theirs = donor.eval().forward_head(donor.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder(images).embedding, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "error", "sentence"),
    [
        ("timm:resnet9", {}, LookupError, r"unknown timm network 'resnet9'; did you mean 'resnet"),
        (
            "timm:tinynet_e",
            {"layer": "blocs"},
            LookupError,
            r"layer of EfficientNet 'blocs'; did you mean 'blocks",
        ),
        (
            "timm:tinynet_e",
            {"pretrained": True},
            LookupError,
            r"option of timm:tinynet_e 'pretrained'.*download",
        ),
        ("timm:tinynet_e", {"download": "yes"}, ValueError, r"expected download to be true or false, but got 'yes'"),
    ],
)
def test_a_mistake_is_one_sentence(name, options, error, sentence):
    with pytest.raises(error, match=sentence):
        Encoder.named(name, **options)


def test_the_missing_package_is_named(monkeypatch):
    def absent(package):
        raise ImportError(package)

    monkeypatch.setattr(family, "import_module", absent)
    with pytest.raises(
        ImportError, match=r"^timm:resnet18 needs timm, not installed here; run: pip install 'fsl-explain\[timm\]'\.$"
    ):
        Encoder.named("timm:resnet18")


def as_dinov2_publishes_it(network):
    """Return a state dict under DINOv2's names: a mask token, registers, and a position for the class token."""
    state = {**network.state_dict(), "mask_token": torch.zeros(1, 64)}
    registers = state.pop("reg_token", None)
    if registers is None:
        return state
    place = torch.full((1, 1, 64), 0.5)
    positions = torch.cat([place, state["pos_embed"]], dim=1)
    return {**state, "register_tokens": registers, "pos_embed": positions, "cls_token": state["cls_token"] - place}


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"])
def test_dinov2s_own_checkpoints_have_timms_names(name):
    network = timm.create_model(name, num_classes=0, img_size=56, depth=1, embed_dim=64, num_heads=2)
    found = renamed(as_dinov2_publishes_it(network), network)
    assert found.keys() == network.state_dict().keys()
    for at, value in network.state_dict().items():
        torch.testing.assert_close(found[at], value)


def test_positions_of_another_grid_are_interpolated_and_the_report_says_so():
    made = {"num_classes": 0, "depth": 1, "embed_dim": 64, "num_heads": 2}
    donor, network = (timm.create_model("vit_small_patch14_dinov2", img_size=side, **made) for side in (84, 56))
    official = as_dinov2_publishes_it(donor)
    opened = Checkpoint(Path("dinov2.pth"), OURS, official, {}, parts={"": official})
    known = weights_renamed(opened, network, renamed, ("head.",))
    assert known.resampled == ("pos_embed",)
    assert known.checkpoint.parts[""]["pos_embed"].shape == (1, 1 + 16, 64)
    report = known.told(load_weights(network, known.checkpoint))
    assert dict(report.dropped) == {"mask_token": "not of the library's network"}
    assert report.loaded["cls_token"] == "cls_token"


def test_what_is_left_out_is_reported_under_its_official_name(tmp_path):
    donor, path = (
        timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56, depth=1, num_classes=5),
        tmp_path / "a.pt",
    )
    torch.save({"teacher": {f"backbone.{name}": value for name, value in donor.state_dict().items()}}, path)
    network = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56, depth=1, num_classes=0)
    known = weights_renamed(open_checkpoint(path, "timm:any"), network, renamed, ("head.",))
    report = known.told(load_weights(network, known.checkpoint))
    assert dict(report.dropped) == dict.fromkeys(("backbone.head.weight", "backbone.head.bias"), "classifier")
    assert report.loaded["reg_token"] == "backbone.reg_token"
