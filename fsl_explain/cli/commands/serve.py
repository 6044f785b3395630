"""``fsl-explain serve``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import EncoderName, PoolingName, ReadoutName, ScalesText


def serve(
    *,
    support: Path,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    allow_host: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    uploads: Path | None = None,
    open_browser: Annotated[bool, Parameter(name="--open", negative="")] = False,
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
    host
        The address to serve on.
    port
        Its port; 0 is any that is free.
    token
        What a browser must know to be answered, at least 16 letters and digits; a public address needs one.
    allow_host
        A name by which browsers reach this server, such as that of a proxy; may be repeated.
    uploads
        Where images that are given to the page are kept, so that links to them last; a new temporary folder by default.
    open_browser
        Open the page.
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
        host=host,
        port=port,
        token=token,
        allowed=allow_host,
        uploads=uploads,
        opens=open_browser,
    )
