"""``retrieval-explain local-features``."""

from pathlib import Path

from fsl_explain.cli.progress import note, progress_bars, say
from retrieval_explain.cli.opened import open_bank_for
from retrieval_explain.local.local_features import LocalFeatures


def run(
    bank: Path,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    dtype: str,
    batch_size: int,
) -> None:
    """Make the local features of a bank, and say how large they are."""
    opened, network = open_bank_for(bank, encoder, checkpoint, pooling, readout, None, None, None)
    note(f"Local features of {len(opened)} images with {network.description} …")
    with progress_bars() as report:
        made = LocalFeatures.build(network, opened, dtype=dtype, batch_size=batch_size, report=report)
    height, width = made.grid
    say(
        f"Local features: {made.files.directory}, {len(made)} images of {height}×{width} cells, "
        f"{made.channels} channels, {dtype}, {made.nbytes / 1e6:.1f} MB."
    )
