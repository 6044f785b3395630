"""The official releases of self-supervised, supervised and metric learning.

MoCo is He et al., 2020; NPID Wu et al., 2018; SwAV Caron et al., 2020; SimCLR and the second SwAV are those of
Lightning Bolts; ms-loss is the code of Wang et al., 2019, for Multi-Similarity and Margin, which starts from Cadene's
weights of ImageNet. timm's residual networks have torchvision's names.
"""

from fsl_explain.backbones.weights.key_maps import TRUNK, Release, Rule

MOCO_REST = (
    Rule(r"module\.encoder_k\..+", reason="momentum encoder"),
    Rule(r"module\.queue", reason="queue of embeddings"),
    Rule(r"module\.queue_ptr", reason="position in the queue"),
)
SWAV_REST = (
    Rule(r"(?:module|model)\.projection_head\..+", reason="projection head"),
    Rule(r"(?:module|model)\.prototypes\..+", reason="prototypes"),
)
INCEPTION_TRUNK = r"((?:conv[12]_|inception_[345]).+)"
TORCHVISION = (Rule(TRUNK, r"\1"), Rule(r"(fc\..+)", r"\1", reason="classifier"))

REPRESENTATION_RELEASES = (
    Release(
        "moco-v1",
        ("moco-resnet50",),
        (
            Rule(rf"module\.encoder_q\.{TRUNK}", r"\1"),
            Rule(r"module\.encoder_q\.fc\.(weight|bias)", r"head.0.\1"),
            *MOCO_REST,
        ),
        marks=(r"module\.encoder_q\.fc\.weight",),
        containers=("state_dict",),
    ),
    Release(
        "moco-v2",
        ("moco-v2-resnet50",),
        (
            Rule(rf"module\.encoder_q\.{TRUNK}", r"\1"),
            Rule(r"module\.encoder_q\.fc\.([02])\.(weight|bias)", r"head.\1.\2"),
            *MOCO_REST,
        ),
        marks=(r"module\.encoder_q\.fc\.0\.weight", r"module\.encoder_q\.fc\.2\.weight"),
        containers=("state_dict",),
    ),
    Release(
        "npid",
        ("npid-resnet18", "npid-resnet50"),
        (Rule(rf"module\.{TRUNK}", r"\1"), Rule(r"module\.fc\.(weight|bias)", r"head.0.\1")),
        marks=(r"module\.conv1\.weight", r"module\.fc\.weight"),
        containers=("state_dict",),
    ),
    Release(
        "swav",
        ("swav-resnet50",),
        (Rule(rf"module\.{TRUNK}", r"\1"), *SWAV_REST),
        marks=(r"module\.conv1\.weight", r"module\.prototypes\..+"),
        containers=("", "state_dict"),
    ),
    Release(
        "bolts-swav",
        ("swav-resnet50",),
        (Rule(rf"model\.{TRUNK}", r"\1"), *SWAV_REST),
        marks=(r"model\.conv1\.weight", r"model\.prototypes\..+"),
        containers=("state_dict",),
    ),
    Release(
        "bolts-simclr",
        ("simclr-resnet50",),
        (
            Rule(rf"encoder\.{TRUNK}", r"\1"),
            Rule(r"encoder\.fc\..+", reason="classifier that was never trained"),
            Rule(r"projection\..+", reason="projection head"),
            Rule(r"non_linear_evaluator\..+", reason="classifier of the evaluation while training"),
        ),
        marks=(r"encoder\.conv1\.weight", r"projection\..+"),
        containers=("state_dict",),
    ),
    Release(
        "ms-loss",
        ("bn-inception",),
        (
            Rule(rf"backbone\.{INCEPTION_TRUNK}", r"\1"),
            Rule(r"head\.fc\.(weight|bias)", r"head.0.\1"),
        ),
        marks=(r"backbone\.conv1_7x7_s2\.weight", r"head\.fc\.weight"),
        containers=("model",),
    ),
    Release(
        "cadene-imagenet",
        ("bn-inception",),
        (Rule(INCEPTION_TRUNK, r"\1"), Rule(r"last_linear\.(?:weight|bias)", reason="classifier")),
        marks=(r"conv1_7x7_s2\.weight", r"last_linear\.weight"),
        rows=True,  # its batch normalization was converted from Caffe's blobs
    ),
    Release("torchvision", ("supervised-resnet50",), TORCHVISION, marks=(r"conv1\.weight", r"fc\.weight")),
    Release(
        "torchvision-resnet18",
        ("resnet18",),
        TORCHVISION,
        marks=(r"conv1\.weight", r"fc\.weight"),
        settings={"negative_slope": 0.0, "stem": "7x7", "size": 224},
    ),
)
