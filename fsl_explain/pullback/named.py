"""Rules of the pull-back by name."""

from episodes.registry import Registry
from fsl_explain import registries
from fsl_explain.pullback.rules import PullbackRule

PULLBACKS: Registry[PullbackRule] = registries.PULLBACKS
"""Every rule of the pull-back by the name that ``pullback=`` of ``Encoder.with_detail`` takes."""
