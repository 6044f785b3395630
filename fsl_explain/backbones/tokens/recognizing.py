"""Which networks are read as tokens, and how."""

from torch import nn

from episodes.errors import Mistake
from fsl_explain.backbones.tokens.networks import recognized
from fsl_explain.backbones.tokens.pooled_maps import PooledMapsReading, attention_pool_of
from fsl_explain.backbones.tokens.reading import TokenReading


def tokens_of(
    network: nn.Module,
    layer: nn.Module | None,
    layout: str | None,
    readout: str | None,
    description: str,
    inference: str = "eager",
) -> TokenReading | None:
    """Return how a token network is read where no layer is named, or None for a network that is none.

    Raises: ``ValueError`` for a readout of a network that is none, or beside a layer.
    """
    parts = recognized(network) if layer is None and layout is None else None
    if parts is not None:
        return TokenReading(network, parts, readout, description, inference)
    pool = attention_pool_of(network) if layer is None and layout is None else None
    if pool is not None:
        return PooledMapsReading(network, pool, readout, description, inference)
    if readout is not None:
        what = "a layer or a layout was named" if layer is not None or layout is not None else "its parts are not known"
        raise Mistake(
            f"expected a token network for readout={readout!r}, but of {description} {what}; drop readout, or wrap a "
            "vision transformer without a layer."
        )
    return None
