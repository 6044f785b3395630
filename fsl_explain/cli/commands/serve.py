"""``fsl-explain serve``."""

from pathlib import Path

from fsl_explain.cli.address import HERE, Address
from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import EncoderName, PoolingName, ReadoutName, ScalesText, SupportScalesText


def serve(
    *,
    support: Path,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    support_scales: SupportScalesText = None,
    address: Address = HERE,
) -> None:
    """Serve a page in the browser on which supports are moved, added and taken away, and the decision follows.

    Prints the address and answers until Ctrl-C. Only this machine is answered, unless --host says otherwise; then a
    token is needed.

    Parameters
    ----------
    support
        Folder with one folder of images per class: DIR/CLASS/IMAGE, or deeper.
    checkpoint
        Weights for the encoder: safetensors, the file of a training, or that of an official release.

    Examples
    --------
    fsl-explain serve --support species/ --open
    fsl-explain serve --support species/ --encoder conv4net --checkpoint weights.safetensors --port 9000
    """
    check_input(support, "a folder of supports")
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")

    from fsl_explain.cli.serve import run

    run(
        support=support,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        readout=readout,
        scales=scales,
        support_scales=support_scales,
        address=address,
    )
