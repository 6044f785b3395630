"""How each named network of ours is built: its parts, its head and the images its weights expect.

Sources of the heads and preparations: NPID is Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance
Discrimination", 2018; MoCo He et al., 2020, and MoCo v2 Chen et al., 2020; BN-Inception's are those of Wang et al.,
"Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning", 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from fsl_explain.backbones.layouts import FIRST
from fsl_explain.backbones.networks.bn_inception import BNInception
from fsl_explain.backbones.networks.can_resnet12 import CanResNet12
from fsl_explain.backbones.networks.conv4 import Conv4Net
from fsl_explain.backbones.networks.conv64f import Conv64F
from fsl_explain.backbones.networks.demo_vit import SIDE, demo_vit, trained_on_digit_scenes
from fsl_explain.backbones.networks.efficientnet_lite import EfficientNetLite0, published_weights
from fsl_explain.backbones.networks.resnet12 import ResNet12
from fsl_explain.backbones.networks.resnet_trunks import ResNetClassifier, resnet18, resnet50
from fsl_explain.backbones.networks.wide_resnet import WideResNet
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.config import HeadConfig

NO_HEAD = HeadConfig(kind="none")
LINEAR_128 = HeadConfig(kind="linear", width=128, normalize=True)
MLP_128 = HeadConfig(kind="mlp", width=128, normalize=True)
LINEAR_512 = HeadConfig(kind="linear", width=512, normalize=True)


@dataclass(frozen=True)
class Recipe:
    """How a named network of ours is built."""

    build: Callable[..., nn.Module]
    preprocessing: Preprocessing
    pooling: str = "gap"
    head: HeadConfig = NO_HEAD
    published: Callable[[], Path] | None = None
    shipped: Callable[[], Path] | None = None  # a checkpoint of ours, taken where none is given
    layout: str | None = FIRST  # of the maps it returns; None: it returns none, and is read token by token


FEW_SHOT = Preprocessing(84)
IMAGENET = Preprocessing(224)
LITE = Preprocessing(224, mean=(0.498,) * 3, std=(0.502,) * 3)
DIGIT_SCENES = Preprocessing(SIDE)
CAFFE = Preprocessing(227, mean=(104 / 255, 117 / 255, 128 / 255), std=(1 / 255,) * 3, resize=256, bgr=True)

CONV4NET = Recipe(Conv4Net, FEW_SHOT)
CONV64F = Recipe(Conv64F, FEW_SHOT)
RESNET12 = Recipe(ResNet12, FEW_SHOT)
CAN_RESNET12 = Recipe(CanResNet12, FEW_SHOT)
RESNET18 = Recipe(resnet18, FEW_SHOT)
WRN_28_10 = Recipe(WideResNet, FEW_SHOT)
BN_INCEPTION = Recipe(BNInception, CAFFE, pooling="gmp", head=LINEAR_512)
EFFICIENTNET_LITE0 = Recipe(EfficientNetLite0, LITE, published=published_weights)
DEMO_VIT = Recipe(demo_vit, DIGIT_SCENES, shipped=trained_on_digit_scenes, layout=None)
NPID_RESNET18 = Recipe(partial(resnet18, negative_slope=0.0), IMAGENET, head=LINEAR_128)
NPID_RESNET50 = Recipe(resnet50, IMAGENET, head=LINEAR_128)
MOCO_RESNET50 = Recipe(resnet50, IMAGENET, head=LINEAR_128)
MOCO_V2_RESNET50 = Recipe(resnet50, IMAGENET, head=MLP_128)
SIMCLR_RESNET50 = Recipe(resnet50, IMAGENET)
SWAV_RESNET50 = Recipe(resnet50, IMAGENET)
SUPERVISED_RESNET50 = Recipe(ResNetClassifier, IMAGENET)
