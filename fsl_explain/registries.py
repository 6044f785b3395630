"""All that can be chosen by name: one line adds a member, and commands, configurations and messages read these tables.

A member is imported when it is first asked for, so that names are listed and checked before torch is loaded. One of
your own is added with ``SIMILARITIES["name"] = member`` before its name is used. The tables know nothing of what they
list; ``named`` in each package has them with the protocol of their members.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from episodes.registry import Registry

AT = "@"
"""Stands between a name and where it is taken: a similarity at scales, as in ``cosine@224,448``, or a method at earlier
maps, as in ``grad-cam@1``."""


def _at_scales(name: str) -> Any:
    if AT not in name:
        return None
    return import_module("fsl_explain.similarities.at_scales").composed(name)


def _at_earlier_maps(name: str) -> Any:
    if AT not in name:
        return None
    return import_module("fsl_explain.explainers.methods.earlier_cams").composed(name)


SIMILARITIES: Registry[Any] = Registry(
    "similarity",
    {
        "cosine": "fsl_explain.similarities.cosine",
        "inner-product": "fsl_explain.similarities.inner_product",
        "euclidean": "fsl_explain.similarities.euclidean",
    },
    _at_scales,
)
LOCAL_RULES = {
    "max-sim": "fsl_explain.classifiers.local.max_sim:MAX_SIM",
    "dn4": "fsl_explain.classifiers.local.dn4:NEAREST_CELLS",
    "deep-emd": "fsl_explain.classifiers.local.deep_emd:EARTH_MOVER",
    "frn": "fsl_explain.classifiers.local.frn:RECONSTRUCTION",
}
"""Rules that compare cells of the query with cells of the supports, each class by its own."""
LEARNED_LOCAL_RULES = {"deep-emd-sfc": "fsl_explain.classifiers.local.structured_deep_emd:STRUCTURED"}
"""Rules over cells that learn from the supports of all classes, so that they rank no single images."""
TRANSDUCTIVE_RULES = {
    "bd-cspn": "fsl_explain.classifiers.transductive.bd_cspn:RECTIFIED",
    "laplacian-shot": "fsl_explain.classifiers.transductive.laplacian_shot:LAPLACIAN_SHOT",
}
"""Rules that look at all images of an episode that are to be decided together."""
VOTES = {
    "knn-vote": "fsl_explain.classifiers.knn_vote:KNN_VOTE",
    "majority-vote": "fsl_explain.classifiers.knn_vote:MAJORITY_VOTE",
}
"""Rules by which each of the nearest neighbors adds a vote to its class."""
NEIGHBOR_RULES = {"nearest-neighbor": "fsl_explain.classifiers.knn_vote:NEAREST_NEIGHBOR", **VOTES}
"""Rules by which the nearest neighbors alone decide."""
RULES: Registry[Any] = Registry(
    "rule",
    {
        "mean-similarity": "fsl_explain.classifiers.mean_similarity",
        "prototype": "fsl_explain.classifiers.prototypes",
        **NEIGHBOR_RULES,
        "logistic-regression": "fsl_explain.classifiers.linear:LOGISTIC_REGRESSION",
        "cosine-classifier": "fsl_explain.classifiers.linear:COSINE_CLASSIFIER",
        **LOCAL_RULES,
        **LEARNED_LOCAL_RULES,
        **TRANSDUCTIVE_RULES,
        "relation-network": "fsl_explain.classifiers.relation_rule:RELATION_NETWORK",
    },
)
_BUILT_IN_RULES = frozenset(RULES)
POOLINGS: Registry[Any] = Registry(
    "pooling",
    {
        "gap": "fsl_explain.heads.pooling:GAP",
        "gmp": "fsl_explain.heads.pooling:GMP",
        "lse": "fsl_explain.heads.pooling:LSE",
        "gem": "fsl_explain.heads.pooling:GEM",
        "flatten": "fsl_explain.heads.flatten:FLATTEN",
    },
)
PULLBACKS: Registry[Any] = Registry(
    "pullback",
    {
        "abs": "fsl_explain.pullback.rules:ABSOLUTE",
        "gamma": "fsl_explain.pullback.rules:GAMMA",
        "gamma-by-depth": "fsl_explain.pullback.rules:GAMMA_BY_DEPTH",
        "gamma-shared": "fsl_explain.pullback.rules:SHARED_GAMMA",
        "epsilon": "fsl_explain.pullback.rules:EPSILON",
        "z-plus": "fsl_explain.pullback.rules:POSITIVE",
    },
)
TRIVIAL_MAPS = {
    "all-ones": "fsl_explain.explainers.methods.baselines:ALL_ONES",
    "centered-gaussian": "fsl_explain.explainers.methods.baselines:CENTERED_GAUSSIAN",
    "random-blurred": "fsl_explain.explainers.methods.baselines:RANDOM_BLURRED",
    "center-pixel": "fsl_explain.explainers.methods.baselines:CENTER_PIXEL",
}
"""Methods whose maps do not look at the image."""
TOKEN_METHODS = {
    "attention": "fsl_explain.explainers.methods.attention_rollout:ATTENTION",
    "rollout": "fsl_explain.explainers.methods.attention_rollout:ROLLOUT",
    "chefer": "fsl_explain.explainers.methods.attention_gradients:CHEFER",
    "legrad": "fsl_explain.explainers.methods.attention_gradients:LEGRAD",
    "value-path": "fsl_explain.explainers.methods.value_path:VALUE_PATH",
}
"""Methods that read what the tokens of a vision transformer do; they have no answer for other networks."""
METHODS: Registry[Any] = Registry(
    "method",
    {
        "exact": "fsl_explain.explainers.methods.exact:EXACT",
        "contrast": "fsl_explain.explainers.methods.exact:CONTRAST",
        "log-probability": "fsl_explain.explainers.methods.exact:LOG_PROBABILITY",
        "verification": "fsl_explain.explainers.methods.exact:VERIFICATION",
        "fam": "fsl_explain.explainers.methods.fam:FAM",
        "lafam": "fsl_explain.explainers.methods.lafam:LAFAM",
        "grad-cam": "fsl_explain.explainers.methods.grad_cam:GRAD_CAM",
        "grad-cam++": "fsl_explain.explainers.methods.grad_cam_plus_plus:GRAD_CAM_PLUS_PLUS",
        "xgrad-cam": "fsl_explain.explainers.methods.xgrad_cam:XGRAD_CAM",
        "hirescam": "fsl_explain.explainers.methods.cellwise_cam:HIRESCAM",
        "layercam": "fsl_explain.explainers.methods.cellwise_cam:LAYERCAM",
        "layercam-fused": "fsl_explain.explainers.methods.earlier_cams:LAYERCAM_FUSED",
        "grad-cam@1": "fsl_explain.explainers.methods.earlier_cams:GRAD_CAM_EARLIER",
        "eigen-cam": "fsl_explain.explainers.methods.eigen_cam:EIGEN_CAM",
        "score-cam": "fsl_explain.explainers.methods.score_cam:SCORE_CAM",
        "ablation-cam": "fsl_explain.explainers.methods.ablation_cam:ABLATION_CAM",
        "occlusion": "fsl_explain.explainers.methods.occlusion:OCCLUSION",
        "relax": "fsl_explain.explainers.methods.relax:RELAX",
        "u-relax": "fsl_explain.explainers.methods.relax:U_RELAX",
        "guided-backprop": "fsl_explain.explainers.methods.guided_backprop:GUIDED_BACKPROP",
        "guided-grad-cam": "fsl_explain.explainers.methods.guided_backprop:GUIDED_GRAD_CAM",
        "smoothgrad": "fsl_explain.explainers.methods.smoothgrad:SMOOTHGRAD",
        "integrated-gradients": "fsl_explain.explainers.methods.integrated_gradients:INTEGRATED_GRADIENTS",
        "fullgrad": "fsl_explain.explainers.methods.fullgrad:FULLGRAD",
        **TOKEN_METHODS,
        **TRIVIAL_MAPS,
    },
    _at_earlier_maps,
)
MASKINGS: Registry[Any] = Registry(
    "masking",
    {
        "mean": "fsl_explain.metrics.masking:mean_color",
        "black": "fsl_explain.metrics.masking:black_after_preprocessing",
        "blur": "fsl_explain.metrics.masking:blurred",
    },
)
REMOVALS: Registry[Any] = Registry(
    "removal",
    {
        "blur": "fsl_explain.metrics.regions:own_blur",
        "mean": "fsl_explain.metrics.regions:own_mean",
        "patch": "fsl_explain.metrics.regions:other_patch",
    },
)
"""What the pixels of a removed region become."""
MOSAIC_HEADS: Registry[Any] = Registry(
    "head",
    {
        "none": "fsl_explain.evaluation.mosaics.fitted_heads:no_head",
        "center": "fsl_explain.evaluation.mosaics.fitted_heads:center",
        "pca-128": "fsl_explain.evaluation.mosaics.fitted_heads:PCA_128",
        "class-pca": "fsl_explain.evaluation.mosaics.fitted_heads:class_pca",
        "linear": "fsl_explain.evaluation.mosaics.fitted_heads:trained",
        "lda": "fsl_explain.evaluation.mosaics.fitted_heads:discriminant",
    },
)
TABLE_FORMATS: Registry[Any] = Registry(
    "format",
    {
        "markdown": "fsl_explain.report.table_formats:as_markdown",
        "latex": "fsl_explain.report.table_formats:as_latex",
        "html": "fsl_explain.report.table_formats:as_html",
    },
)
ENCODERS: Registry[Any] = Registry(
    "encoder",
    {
        "conv4net": "fsl_explain.backbones.recipes:CONV4NET",
        "conv64f": "fsl_explain.backbones.recipes:CONV64F",
        "resnet12": "fsl_explain.backbones.recipes:RESNET12",
        "can-resnet12": "fsl_explain.backbones.recipes:CAN_RESNET12",
        "resnet18": "fsl_explain.backbones.recipes:RESNET18",
        "wrn-28-10": "fsl_explain.backbones.recipes:WRN_28_10",
        "bn-inception": "fsl_explain.backbones.recipes:BN_INCEPTION",
        "efficientnet-lite0": "fsl_explain.backbones.recipes:EFFICIENTNET_LITE0",
        "demo-vit": "fsl_explain.backbones.recipes:DEMO_VIT",
        "npid-resnet18": "fsl_explain.backbones.recipes:NPID_RESNET18",
        "npid-resnet50": "fsl_explain.backbones.recipes:NPID_RESNET50",
        "moco-resnet50": "fsl_explain.backbones.recipes:MOCO_RESNET50",
        "moco-v2-resnet50": "fsl_explain.backbones.recipes:MOCO_V2_RESNET50",
        "simclr-resnet50": "fsl_explain.backbones.recipes:SIMCLR_RESNET50",
        "swav-resnet50": "fsl_explain.backbones.recipes:SWAV_RESNET50",
        "supervised-resnet50": "fsl_explain.backbones.recipes:SUPERVISED_RESNET50",
    },
)
"""Every encoder of the project by the name that ``Encoder.named`` and ``--encoder`` take; a name is also its recipe."""
CENTERS: Registry[Any] = Registry("center", {"bank": "retrieval_explain.centering:centered_on"})
FAMILIES: Registry[Any] = Registry(
    "family of encoders",
    {
        "torchvision": "fsl_explain.backbones.families.torchvision_models",
        "timm": "fsl_explain.backbones.families.timm_models",
        "transformers": "fsl_explain.backbones.families.transformers_models",
        "open_clip": "fsl_explain.backbones.families.open_clip_models",
    },
)
"""Libraries whose networks are encoders, named ``family:name``."""
OWN = "module:function"
"""How the help writes the name of an encoder that the user's own function makes."""


def is_own_code(name: str) -> bool:
    """Whether a name is that of a function of the user's, ``module:function`` or ``path/to/file.py:function``."""
    place, _, function = name.rpartition(":")
    module = place.endswith(".py") or all(part.isidentifier() for part in place.split("."))
    return module and function.isidentifier()


def family_names(name: str) -> tuple[str, ...]:
    """Return how encoders of each family are written, with a word for the name in it, such as ``timm:NAME``."""
    return tuple(f"{family}:{name}" for family in FAMILIES)


def family_of(name: str) -> str | None:
    """Return the family that the name of an encoder begins with, or None for one of ours or of the user's."""
    family, colon, _ = name.partition(":")
    return family if colon and family in FAMILIES else None


def is_own_encoder(name: str) -> bool:
    """Whether a name is that of a function of the user's, and not one of a library's networks."""
    return family_of(name) is None and is_own_code(name)


def checked_encoder(name: str) -> str:
    """Return the name of an encoder; of a family's, only the beginning is checked, of one's own the form.

    Raises: ``LookupError`` with the nearest names.
    """
    if is_own_encoder(name) or family_of(name) is not None:
        return name
    return ENCODERS.checked(name, *family_names("<name>"))


def rules_among(table: Mapping[str, str]) -> list[str]:
    """Return the rules of a table, ``VOTES`` or ``NEIGHBOR_RULES``, without loading any.

    Rules that were registered since are among them: what they are is seen when they are used.
    """
    return [name for name in RULES if name in table or name not in _BUILT_IN_RULES]
