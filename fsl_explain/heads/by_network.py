"""What stands in the place of a pooling where the network itself goes on from the maps to the embedding."""

from dataclasses import dataclass
from typing import NoReturn

from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.named import pooling_name
from fsl_explain.heads.pooling import GAP, Pooling


@dataclass(frozen=True)
class ByNetwork:
    """No pooling: whatever asks for one is refused with what to do instead."""

    def __call__(self, maps: Tensor) -> NoReturn:  # noqa: ARG002 - the signature of every pooling
        """Refuse. Raises: ``ValueError``."""
        raise Mistake(_NONE)

    def shares(self, maps: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises: ``ValueError``."""
        raise Mistake(_NONE)

    def spread(self, maps: Tensor, weights: Tensor) -> NoReturn:  # noqa: ARG002
        """Refuse. Raises: ``ValueError``."""
        raise Mistake(_NONE)


_NONE = (
    "expected maps that are pooled before a head, but with tail='network' the network itself goes on from them; use "
    "method='exact', 'contrast', 'log-probability' or 'verification', whose addends are integrated, or give the part "
    "behind the layer as pooling and head."
)


def by_network(pooling: str | Pooling, layer: nn.Module | None) -> Pooling:
    """Return what stands for the pooling of an encoder with ``tail="network"``.

    Raises: ``ValueError`` for a pooling of its own, or without a layer behind which the network goes on.
    """
    if layer is None:
        raise Mistake(
            "expected a layer behind which tail='network' begins, but got none; use Encoder.wrap(…, layer=…)."
        )
    if pooling not in ("gap", GAP):
        name = pooling if isinstance(pooling, str) else pooling_name(pooling)
        raise Mistake(
            f"with tail='network' the network itself makes the embedding, but got the pooling {name}; drop pooling."
        )
    return ByNetwork()
