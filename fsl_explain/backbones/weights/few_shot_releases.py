"""The official few-shot releases.

A Closer Look (Chen et al., 2019) registers every layer of its convolutional blocks twice. FRN is Wertheimer et al.,
2021; MetaOptNet Lee et al., 2019; CAN, Cross Attention Network, Hou et al., 2019; LibFewShot Li et al., 2021;
Relation Network Sung et al., 2018. All but those of residual blocks with LeakyReLU were trained with ReLU.

A file of LibFewShot does not show how its Conv64F was set up. The releases here are for ReLU and for LeakyReLU 0.2, as
``conv4net`` with max pooling in all four blocks (``last_pool`` and ``maxpool_last2``), as ``conv64f`` with neither, and
with the three poolings of its configuration (``maxpool_last2`` alone). ``nopad`` is its older class Conv64FReLU,
without padding in the first two blocks. A file of its ResNet12 does not show either whether the last two blocks pool:
it is taken for the one of its configuration, where they do, unless ``libfewshot-resnet12-2-pools`` is named.
"""

from fsl_explain.backbones.weights.key_maps import PARAMETER, TRUNK, Release, Rule

OUR_BLOCKS = {
    "conv4net": (r"blocks.block{}.conv.\1", r"blocks.block{}.norm.\1"),
    "conv64f": (r"layer{}.0.\1", r"layer{}.1.\1"),
}
RESIDUAL_PARTS = {
    "C1": "conv1",
    "BN1": "bn1",
    "C2": "conv2",
    "BN2": "bn2",
    "shortcut": "downsample.0",
    "BNshortcut": "downsample.1",
}
RELU = {"negative_slope": 0.0}
LEAKY_RELU = {"negative_slope": 0.2}
MINI_IMAGENET = {
    "mean": [120.39586422 / 255, 115.59361427 / 255, 104.54012653 / 255],
    "std": [70.68188272 / 255, 68.27635443 / 255, 72.54505529 / 255],
}
RELATION_NETWORK = RELU | {"padding": 0, "mean": [0.92206] * 3, "std": [0.08426] * 3}


def _blocks(network: str, convolution: str, norm: str, numbers: tuple[int, ...]) -> tuple[Rule, ...]:
    """Return the rules of four convolutional blocks; {} in an official pattern is the number of the block."""
    return tuple(
        Rule(official.format(number) + PARAMETER, ours.format(block))
        for block, number in enumerate(numbers, start=1)
        for official, ours in zip((convolution, norm), OUR_BLOCKS[network], strict=True)
    )


def _closer_look(network: str) -> tuple[Rule, ...]:
    return (
        *_blocks(network, r"feature\.trunk\.{}\.C\.", r"feature\.trunk\.{}\.BN\.", (0, 1, 2, 3)),
        *_blocks(network, r"feature\.trunk\.{}\.trunk\.0\.", r"feature\.trunk\.{}\.trunk\.1\.", (0, 1, 2, 3)),
        CLOSER_LOOK_REST,
    )


def _libfewshot(network: str) -> tuple[Rule, ...]:
    return (
        *_blocks(network, r"(?:emb_func\.)?layer{}\.0\.", r"(?:emb_func\.)?layer{}\.1\.", (1, 2, 3, 4)),
        LIBFEWSHOT_REST,
    )


CLOSER_LOOK_REST = Rule(r"(?!feature\.).+", reason="classifier or comparison head")
CLOSER_LOOK_RESIDUAL = (
    Rule(r"feature\.trunk\.0\." + PARAMETER, r"conv1.\1"),
    Rule(r"feature\.trunk\.1\." + PARAMETER, r"bn1.\1"),
    *(
        Rule(rf"feature\.trunk\.{4 + block}\.{official}\.{PARAMETER}", rf"layer{1 + block // 2}.{block % 2}.{ours}.\1")
        for block in range(8)
        for official, ours in RESIDUAL_PARTS.items()
    ),
    CLOSER_LOOK_REST,
)
FRN_REST = Rule(r"scale|r|cat_mat", reason="reconstruction head")
LIBFEWSHOT_REST = Rule(r"(?!emb_func\.|layer|conv|bn|block).+", reason="classifier or comparison head")
LIBFEWSHOT_CONV = (r"(emb_func\.)?layer1\.0\.weight", r"(emb_func\.)?layer1\.1\.num_batches_tracked")
LIBFEWSHOT_FILES = ("", "model")

FEW_SHOT_RELEASES = (
    Release(
        "closer-look-conv4",
        ("conv4net",),
        _closer_look("conv4net"),
        marks=(r"feature\.trunk\.0\.C\.weight",),
        never=(r"relation_module\..+",),
        containers=("state",),
        settings=RELU,
    ),
    Release(
        "closer-look-conv4np",  # its relation networks alone pool after the first two blocks only
        ("conv64f",),
        _closer_look("conv64f"),
        marks=(r"feature\.trunk\.0\.C\.weight", r"relation_module\..+"),
        containers=("state",),
        settings=RELU | {"padding": 0},
    ),
    Release(
        "closer-look-resnet18",
        ("resnet18",),
        CLOSER_LOOK_RESIDUAL,
        marks=(r"feature\.trunk\.4\.C1\.weight",),
        containers=("state",),
        settings=RELU | {"stem": "7x7", "size": 224},
    ),
    Release(
        "frn-conv4",
        ("conv4net",),
        (
            *_blocks(
                "conv4net",
                r"feature_extractor\.layers\.{}\.layers\.0\.",
                r"feature_extractor\.layers\.{}\.layers\.1\.",
                (0, 3, 6, 9),
            ),
            FRN_REST,
        ),
        marks=(r"feature_extractor\.layers\.0\.layers\.0\.weight",),
        settings=RELU,
    ),
    Release(
        "frn-resnet12",
        ("resnet12",),
        (Rule(rf"feature_extractor\.{TRUNK}", r"\1"), FRN_REST),
        marks=(r"feature_extractor\.layer1\.0\.conv1\.weight",),
    ),
    Release(
        "metaoptnet",
        ("resnet12",),
        (Rule(rf"(?:module\.)?{TRUNK}", r"\1"),),
        marks=(r"(module\.)?layer1\.0\.conv1\.weight",),
        containers=("embedding",),
        settings=MINI_IMAGENET,
    ),
    Release(
        "can",
        ("can-resnet12",),
        (
            Rule(rf"(?:module\.)?base\.{TRUNK}", r"\1"),
            Rule(r"(?:module\.)?cam\..+", reason="cross attention"),
            Rule(r"(?:module\.)?clas+ifier\..+", reason="classifier"),
        ),
        marks=(r"(module\.)?base\.layer1\.0\.conv1\.weight",),
        containers=("state_dict",),
    ),
    Release(
        "relation-network",
        ("conv64f",),
        (Rule(r"(layer[1-4]\.[01]\..+)", r"\1"),),
        marks=(r"layer1\.0\.weight", r"layer4\.1\.running_var"),
        never=(r".+num_batches_tracked",),
        settings=RELATION_NETWORK,
        plain=True,
    ),
    *(
        Release(
            f"libfewshot-{network}-{variant}",
            (network,),
            _libfewshot(network),
            marks=LIBFEWSHOT_CONV,
            containers=LIBFEWSHOT_FILES,
            settings=settings | MINI_IMAGENET,
            plain=True,
        )
        for network, variant, settings in (
            ("conv4net", "relu", RELU),
            ("conv4net", "leaky-relu", LEAKY_RELU),
            ("conv64f", "relu", RELU | {"padding": 1}),
            ("conv64f", "relu-nopad", RELU | {"padding": 0}),
            ("conv64f", "leaky-relu", LEAKY_RELU | {"padding": 1}),
            ("conv64f", "relu-3-pools", RELU | {"padding": 1, "pooled_blocks": 3}),
            ("conv64f", "leaky-relu-3-pools", LEAKY_RELU | {"padding": 1, "pooled_blocks": 3}),
        )
    ),
    *(
        Release(
            f"libfewshot-{network}{variant}",
            (network,),
            (Rule(r"(?:emb_func\.)?((?:conv1|bn1|layer[1-4]|block[1-3])\..+)", r"\1"), LIBFEWSHOT_REST),
            marks=(rf"(emb_func\.)?{mark}", r"(emb_func\.)?.+num_batches_tracked"),
            never=(r".+",) if variant else (r"fc\..+",),  # a variant is never recognized, only named
            containers=LIBFEWSHOT_FILES,
            settings=settings | MINI_IMAGENET,
            plain=True,
        )
        for network, variant, mark, settings in (
            ("resnet12", "", r"layer1\.0\.conv1\.weight", {}),
            ("resnet12", "-2-pools", r"layer1\.0\.conv1\.weight", {"pooled_blocks": 2}),
            ("resnet18", "", r"layer1\.0\.conv1\.weight", RELU | {"stem": "3x3"}),
            ("wrn-28-10", "", r"block1\.layer\.0\.conv1\.weight", RELU | {"pooling": "gmp"}),
        )
    ),
)
