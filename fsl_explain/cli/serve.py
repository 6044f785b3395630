"""``fsl-explain serve``."""

from pathlib import Path

from fsl_explain.cli.address import Address
from fsl_explain.cli.manners import check_trained
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.served import encoder_call, served


def run(
    support: Path,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    support_scales: str | None,
    address: Address,
) -> None:
    """Open the folder and the encoder, and answer until Ctrl-C."""
    with served(address) as server:
        from fsl_explain.serve.episodes_app import create_app  # noqa: PLC0415 - needs an optional package

        network = named_encoder(encoder, checkpoint, pooling, readout, scales, support_scales=support_scales)
        check_trained(encoder, network.random)
        say_beforehand(network)
        call = encoder_call(encoder, checkpoint, pooling, readout, scales, support_scales)
        server.answer(create_app(support, network, made_by=call, frame=server.frame))
