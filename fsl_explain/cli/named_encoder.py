"""The encoder that the options of a command name."""

from pathlib import Path

from fsl_explain.config.scales import scales_from_text
from fsl_explain.encoder import Encoder


def named_encoder(
    encoder: str, checkpoint: Path | None, pooling: str | None, readout: str | None, scales: str | None
) -> Encoder:
    """Build an encoder by name, which sees images at scales where some are given. Raises: as ``Encoder.named``."""
    found = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling, readout=readout)
    return found if scales is None else found.at_scales(*scales_from_text(scales))
