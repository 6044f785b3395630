"""Every official layout, written by hand in the references, loads into each network that it fits."""

import pytest
import torch
from references import official_layouts as layouts
from torchvision import models
from torchvision.models.resnet import Bottleneck, ResNet

from fsl_explain import Encoder
from fsl_explain.backbones.conversion import convert
from fsl_explain.backbones.named import build_named
from fsl_explain.backbones.weights.loading import open_checkpoint, read_manifest
from fsl_explain.backbones.weights.releases import RELEASES
from fsl_explain.config import HeadConfig
from fsl_explain.heads import pooling_name

MINI_IMAGENET = (120.39586422 / 255, 70.68188272 / 255)
IMAGENET = (0.485, 0.229)
SMALL = {
    "conv4net": {"channels": 3},
    "conv64f": {"channels": 3},
    "resnet12": {"widths": [2, 3, 4, 5]},
    "can-resnet12": {"widths": [2, 3, 4, 5]},
    "wrn-28-10": {"depth": 10, "widen_factor": 1},
}
# release, network, layout, LeakyReLU's slope, size, first mean and deviation, how many of its tensors are left out
QUICK = (
    ("closer-look-conv4", "conv4net", layouts.closer_look_conv4, 0.0, 84, IMAGENET, 4 * 7 + 1),
    ("closer-look-conv4np", "conv64f", layouts.closer_look_conv4np, 0.0, 84, IMAGENET, 4 * 7 + 1),
    ("closer-look-resnet18", "resnet18", layouts.closer_look_resnet18, 0.0, 224, IMAGENET, 1),
    ("frn-conv4", "conv4net", layouts.frn_conv4, 0.0, 84, IMAGENET, 2),
    ("frn-resnet12", "resnet12", layouts.frn_resnet12, 0.1, 84, IMAGENET, 3),
    ("metaoptnet", "resnet12", layouts.metaoptnet, 0.1, 84, MINI_IMAGENET, 0),
    ("can", "can-resnet12", layouts.can, 0.0, 84, IMAGENET, 2),
    ("relation-network", "conv64f", layouts.relation_network, 0.0, 84, (0.92206, 0.08426), 0),
    ("libfewshot-resnet12", "resnet12", layouts.libfewshot, 0.1, 84, MINI_IMAGENET, 1),
    ("libfewshot-resnet12", "resnet12", layouts.libfewshot_last, 0.1, 84, MINI_IMAGENET, 1),
    ("libfewshot-resnet18", "resnet18", layouts.libfewshot, 0.0, 84, MINI_IMAGENET, 1),
    ("libfewshot-wrn-28-10", "wrn-28-10", layouts.libfewshot, 0.0, 84, MINI_IMAGENET, 1),
    ("torchvision-resnet18", "resnet18", layouts.torchvision_resnet18, 0.0, 224, IMAGENET, 2),
    ("npid", "npid-resnet18", layouts.npid, 0.0, 224, IMAGENET, 0),
    ("ms-loss", "bn-inception", layouts.ms_loss, 0.0, 227, (104 / 255, 1 / 255), 0),
)
COPIES = "its own number of tensors"  # left out beside two more
RESNET50S = (
    ("npid", "npid-resnet50", layouts.npid, 0.0, 224, IMAGENET, 0),
    ("moco-v1", "moco-resnet50", layouts.moco_v1, 0.0, 224, IMAGENET, COPIES),
    ("moco-v2", "moco-v2-resnet50", layouts.moco_v2, 0.0, 224, IMAGENET, COPIES),
    ("swav", "swav-resnet50", layouts.swav, 0.0, 224, IMAGENET, 4),
    ("swav", "swav-resnet50", layouts.swav_checkpoint, 0.0, 224, IMAGENET, 4),
    ("bolts-swav", "swav-resnet50", layouts.bolts_swav, 0.0, 224, IMAGENET, 4),
    ("bolts-simclr", "simclr-resnet50", layouts.bolts_simclr, 0.0, 224, IMAGENET, 5),
    ("torchvision", "supervised-resnet50", layouts.torchvision, 0.0, 224, IMAGENET, 0),
)
# release, network, layout, LeakyReLU's slope, side of the maps of 84×84 pixels
NAMED_ONLY = (
    ("libfewshot-conv4net-relu", "conv4net", layouts.libfewshot_conv4, 0.0, 5),
    ("libfewshot-conv4net-leaky-relu", "conv4net", layouts.libfewshot_conv4, 0.2, 5),
    ("libfewshot-conv64f-relu", "conv64f", layouts.libfewshot, 0.0, 21),
    ("libfewshot-conv64f-relu-nopad", "conv64f", layouts.libfewshot, 0.0, 19),
    ("libfewshot-conv64f-leaky-relu", "conv64f", layouts.libfewshot, 0.2, 21),
    ("libfewshot-conv64f-relu-3-pools", "conv64f", layouts.libfewshot, 0.0, 10),
    ("libfewshot-conv64f-leaky-relu-3-pools", "conv64f", layouts.libfewshot, 0.2, 10),
    ("libfewshot-resnet12-2-pools", "resnet12", layouts.libfewshot, 0.1, 21),
)
MAX_POOLED = ("libfewshot-wrn-28-10", "ms-loss", "cadene-imagenet")


def short_resnet(weights=None, **options):
    """A ResNet with one bottleneck in each layer, and few channels inside."""
    return ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=8, **options)


def random_state(network, options):
    """A state dict of ours with statistics and biases that are not what a fresh network has."""
    built = build_named(network, None, **options)
    state = dict(built.network.state_dict())
    if built.head is not None:
        state |= {f"head.{name}": value for name, value in built.head.state_dict().items()}
    generator = torch.Generator().manual_seed(3)
    for value in state.values():
        if value.dim() == 1 and value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return {name: value.clone() for name, value in state.items()}


def slope_of(network):
    slopes = {module.negative_slope for module in network.modules() if isinstance(module, torch.nn.LeakyReLU)}
    return slopes.pop() if slopes else 0.0


def check(tmp_path, release, network, layout, slope, size, normalization, left_out, named=None):
    options = SMALL.get(network, {})
    expected = {name: value for name, value in RELEASES[release].settings.items() if name != "pooling"}
    ours = random_state(network, options | expected)
    official, converted = tmp_path / "official.pth.tar", tmp_path / "converted.safetensors"
    torch.save(layout(ours), official)
    direct = Encoder.named(network, checkpoint=official, release=named, **options)
    assert f"of {release}, sha256" in direct.description
    assert (slope_of(direct.network), direct.image_size) == (slope, size)
    assert pooling_name(direct.pooling) == ("gmp" if release in MAX_POOLED else "gap")
    assert (direct.normalization[0][0], direct.normalization[1][0]) == pytest.approx(normalization)
    loaded = direct.network.state_dict() | {f"head.{n}": value for n, value in direct.head.state_dict().items()}
    assert all(torch.equal(loaded[name], value) or "num_batches" in name for name, value in ours.items())

    report = convert(official, network, converted, release=named, **options)
    assert len(report.dropped) == (len(ours) + 2 if left_out is COPIES else left_out)
    assert all(report.dropped.values())
    assert read_manifest(converted)["release"] == release
    again = Encoder.named(network, checkpoint=converted)
    assert (again.image_size, again.normalization) == (direct.image_size, direct.normalization)
    assert pooling_name(again.pooling) == pooling_name(direct.pooling)
    image = torch.rand(1, 3, 64, 64)
    for part in ("maps", "embedding"):
        assert torch.equal(getattr(direct(image), part), getattr(again(image), part)), part


@pytest.mark.parametrize("case", QUICK, ids=lambda case: f"{case[0]} {case[2].__name__}")
def test_an_official_file_and_its_conversion_compute_the_same(tmp_path, case):
    check(tmp_path, *case)


@pytest.mark.parametrize("case", RESNET50S, ids=lambda case: f"{case[0]} {case[1]} {case[2].__name__}")
def test_the_official_files_of_residual_networks_are_read_whatever_their_depth(tmp_path, monkeypatch, case):
    monkeypatch.setattr(models, "resnet50", short_resnet)
    check(tmp_path, *case)


@pytest.mark.slow
def test_an_official_file_of_full_size_and_its_conversion_compute_the_same(tmp_path):
    check(tmp_path, *next(case for case in RESNET50S if case[0] == "moco-v2"))


@pytest.mark.parametrize("case", NAMED_ONLY, ids=lambda case: case[0])
def test_a_release_that_others_are_named_alike_is_loaded_when_it_is_named(tmp_path, case):
    release, network, layout, slope, side = case
    check(tmp_path, release, network, layout, slope, 84, MINI_IMAGENET, 1, named=release)
    for path, name in (("official.pth.tar", release), ("converted.safetensors", None)):
        encoder = Encoder.named(network, checkpoint=tmp_path / path, release=name, **SMALL[network])
        assert encoder(torch.zeros(1, 3, 84, 84)).maps.shape[-2:] == (side, side)


def test_a_pooling_that_is_given_wins_over_the_releases_and_that_over_the_networks(tmp_path):
    options = SMALL["wrn-28-10"]
    path = saved(tmp_path, layouts.libfewshot(random_state("wrn-28-10", options)))
    convert(path, "wrn-28-10", tmp_path / "converted.safetensors", **options)
    assert read_manifest(tmp_path / "converted.safetensors")["settings"]["pooling"] == "gmp"
    for given, expected in ((None, "gmp"), ("gap", "gap"), ("lse", "lse")):
        for weights in (path, tmp_path / "converted.safetensors"):
            encoder = Encoder.named("wrn-28-10", checkpoint=weights, pooling=given, **options)
            assert pooling_name(encoder.pooling) == expected
    assert pooling_name(Encoder.named("wrn-28-10", **options).pooling) == "gap"
    features = Encoder.named("wrn-28-10", checkpoint=path, **options)(torch.rand(1, 3, 84, 84))
    torch.testing.assert_close(features.pooled, torch.nn.functional.adaptive_max_pool2d(features.maps, 1)[..., 0, 0])


@pytest.fixture(scope="module")
def inception():
    return random_state("bn-inception", {})


def test_the_weights_of_imagenet_that_metric_learning_starts_from_are_of_the_trunk_alone(tmp_path, inception):
    ours, path = inception, tmp_path / "bn_inception-52deb4733.pth"
    torch.save(layouts.cadene_imagenet(ours), path)
    assert torch.load(path, weights_only=True)["conv1_7x7_s2_bn.running_var"].shape == (1, 64)
    built = build_named("bn-inception", path, head=HeadConfig(fresh=True))
    assert built.report.release == "cadene-imagenet"
    assert dict(built.report.dropped) == dict.fromkeys(("last_linear.weight", "last_linear.bias"), "classifier")
    loaded = built.network.state_dict()
    assert all(torch.equal(loaded[name], ours[name]) for name in loaded if "num_batches" not in name)
    with pytest.raises(
        ValueError, match=r"by the key map of cadene-imagenet: 2 missing \(head.0.weight, head.0.bias\)"
    ):
        build_named("bn-inception", path)


@pytest.mark.parametrize("shape", [(2, 32), (1, 32), (1, 1, 64), (64, 1)], ids=str)
def test_other_shapes_than_a_row_of_channels_are_refused(tmp_path, shape, inception):
    official = layouts.cadene_imagenet(inception)
    official["conv1_7x7_s2_bn.weight"] = torch.ones(shape)
    with pytest.raises(ValueError, match=r"expected conv1_7x7_s2_bn.weight of shape \(64,\), but"):
        build_named("bn-inception", saved(tmp_path, official), head=HeadConfig(kind="none"))


def test_rows_of_channels_are_refused_where_a_release_has_none(tmp_path):
    official = layouts.closer_look_conv4np(random_state("conv64f", {"channels": 2}))
    for name in ("feature.trunk.0.BN.weight", "feature.trunk.0.trunk.1.weight"):
        official["state"][name] = torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"expected layer1.1.weight .* of shape \(2,\), but .* holds \(1, 2\)"):
        build_named("conv64f", saved(tmp_path, official), channels=2)


def test_every_release_is_tested_on_every_network_it_fits():
    tested = {case[:2] for case in (*QUICK, *RESNET50S, *NAMED_ONLY)} | {("cadene-imagenet", "bn-inception")}
    assert tested == {(name, network) for name, release in RELEASES.items() for network in release.networks}


def saved(tmp_path, content, name="weights.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


@pytest.fixture(scope="module")
def conv64f():
    return random_state("conv64f", {"channels": 2})


def test_names_of_several_releases_are_refused_until_one_is_named(tmp_path, conv64f):
    path = saved(tmp_path, layouts.libfewshot(conv64f))
    with pytest.raises(
        ValueError, match=r"one release, but the names in .*weights.pth are those of libfewshot-conv64f"
    ):
        open_checkpoint(path, "conv64f")
    four = random_state("conv4net", {"channels": 2})
    with pytest.raises(
        ValueError,
        match=r"are those of libfewshot-conv4net-relu, libfewshot-conv4net-leaky-relu, which differ in activation,",
    ):
        open_checkpoint(saved(tmp_path, layouts.libfewshot_conv4(four), "four.pth"), "conv4net")
    bare = saved(tmp_path, conv64f, "bare.pth")
    of_conv64f = [case[0] for case in NAMED_ONLY if case[1] == "conv64f"]
    variants = ", ".join([*of_conv64f, "fsl-explain"])
    with pytest.raises(ValueError, match=rf"{variants}, which differ in .*for example libfewshot-conv64f-relu\."):
        open_checkpoint(bare, "conv64f")
    assert open_checkpoint(bare, "conv64f", "fsl-explain").settings == {}


def test_a_file_for_another_network_is_refused_by_the_name_of_its_release(tmp_path, conv64f):
    path = saved(tmp_path, layouts.closer_look_conv4np(conv64f))
    with pytest.raises(ValueError, match=r"a checkpoint for resnet12, but .* of closer-look-conv4np, .* for conv64f"):
        open_checkpoint(path, "resnet12")


def test_a_release_that_is_not_for_the_network_or_unknown_is_refused(tmp_path, conv64f):
    path = saved(tmp_path, conv64f)
    with pytest.raises(ValueError, match=r"a release for conv64f, but moco-v1 is for moco-resnet50; choose another"):
        open_checkpoint(path, "conv64f", "moco-v1")
    with pytest.raises(LookupError, match=r"unknown release 'relation-netwrok'; did you mean 'relation-network'"):
        open_checkpoint(path, "conv64f", "relation-netwrok")
    with pytest.raises(ValueError, match=r"as closer-look-conv4np keeps it, in 'state', but there is none"):
        open_checkpoint(path, "conv64f", "closer-look-conv4np")


def test_a_wrong_key_map_names_the_tensors(tmp_path, conv64f):
    path = saved(tmp_path, {"state": {"feature.trunk.9.C.weight": torch.zeros(1), "feature.x": torch.zeros(1)}})
    sentence = (
        r"does not fit Conv64F by the key map of closer-look-conv4np: 24 missing \(layer1.0.weight, layer1.0.bias, "
        r".*\), 2 unexpected \(feature.trunk.9.C.weight, feature.x\); check"
    )
    with pytest.raises(ValueError, match=sentence):
        build_named("conv64f", path, release="closer-look-conv4np", channels=2)


def test_copies_that_differ_are_refused(tmp_path, conv64f):
    content = layouts.closer_look_conv4np(conv64f)
    content["state"]["feature.trunk.2.trunk.1.running_var"] = torch.ones(2) * 9
    with pytest.raises(
        ValueError, match=r"expected feature.trunk.2.BN.running_var and .*trunk.1.running_var of .*copies"
    ):
        build_named("conv64f", saved(tmp_path, content), channels=2)


def test_another_shape_is_named_in_both_languages(tmp_path, conv64f):
    path = saved(tmp_path, layouts.closer_look_conv4np(conv64f))
    sentence = r"expected layer1.0.weight \(feature.trunk.0.C.weight\) of shape \(4, 3, 3, 3\), but .* holds \(2, 3"
    with pytest.raises(ValueError, match=sentence):
        build_named("conv64f", path, channels=4)
