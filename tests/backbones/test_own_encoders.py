"""An encoder by the name of a function of one's own, in Python, in configs and in both command lines."""

import pytest
import torch
from image_sets import write_folders

from fsl_explain import Encoder
