"""The encoders that draw as finely as the page asks, each made once."""

from dataclasses import dataclass, field

from fsl_explain.encoder import Encoder


@dataclass(frozen=True)
class EncodersByDetail:
    """An encoder, and the same that draw finer."""

    encoder: Encoder
    _finer: dict[tuple[int, str], Encoder] = field(default_factory=dict, repr=False)

    def at(self, detail: int, biases: str) -> Encoder:
        """Return the encoder that draws so finely. Raises: ``ValueError`` as ``Encoder.with_detail``."""
        if detail == 0:
            return self.encoder
        if (detail, biases) not in self._finer:
            self._finer[detail, biases] = self.encoder.with_detail(detail, biases)
        return self._finer[detail, biases]
