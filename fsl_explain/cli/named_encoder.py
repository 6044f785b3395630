"""The encoder that the options of a command name."""

from pathlib import Path

from fsl_explain.config.scales import scales_from_text
from fsl_explain.encoder import Encoder


def named_encoder(
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    detail: int = 0,
    biases: str = "drawn",
) -> Encoder:
    """Build an encoder by name, which sees images at the scales, and draws maps with the detail, that are asked for.

    Raises: as ``Encoder.named``, ``with_detail`` and ``at_scales``.
    """
    found = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling, readout=readout)
    finer = found.with_detail(detail, biases)
    return finer if scales is None else finer.at_scales(*scales_from_text(scales))
