"""Networks that turn images into activation maps."""

from fsl_explain.backbones.networks.conv4 import Conv4Net
from fsl_explain.backbones.networks.efficientnet_lite import EfficientNetLite0

__all__ = ["Conv4Net", "EfficientNetLite0"]
