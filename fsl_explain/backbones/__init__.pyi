from .networks.conv4 import Conv4Net
from .networks.efficientnet_lite import EfficientNetLite0

__all__ = ["Conv4Net", "EfficientNetLite0"]
