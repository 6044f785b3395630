"""The encoder that the options of a command name."""

from pathlib import Path

from fsl_explain.config.scales import scales_from_text, sides_from_text
from fsl_explain.encoder import Encoder
from fsl_explain.scales import seen_at


def named_encoder(
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    detail: int = 0,
    biases: str = "drawn",
    support_scales: str | None = None,
) -> Encoder:
    """Build an encoder by name, which sees images at the scales, and draws maps with the detail, that are asked for.

    Raises: as ``Encoder.named``, ``with_detail`` and ``at_scales``.
    """
    found = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling, readout=readout)
    finer = found.with_detail(detail, biases)
    sides, weights = (None, None) if scales is None else scales_from_text(scales)
    shown = None if support_scales is None else sides_from_text(support_scales)
    return seen_at(finer, sides, weights, shown)
