"""``retrieval-explain serve``."""

from pathlib import Path
from typing import TypeVar

from fsl_explain.cli.address import Address
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.progress import note
from fsl_explain.cli.served import encoder_call, served
from fsl_explain.encoder import Encoder
from retrieval_explain.memory_bank import MemoryBank

One = TypeVar("One")


def run(
    banks: tuple[Path, ...],
    encoders: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    index: str | None,
    address: Address,
) -> None:
    """Open the banks and their encoders, and answer until Ctrl-C."""
    with served(address) as server:
        from retrieval_explain.serve.app import create_app  # noqa: PLC0415 - needs an optional package

        made: dict[tuple[str, Path | None], Encoder] = {}
        opened: list[MemoryBank] = []
        networks: list[Encoder] = []
        named = list(zip(_each(encoders, banks), _each(checkpoints or (None,), banks), strict=True))
        for directory, (name, weights) in zip(banks, named, strict=True):
            if (name, weights) not in made:
                made[name, weights] = named_encoder(name, weights, pooling, readout, scales)
                say_beforehand(made[name, weights])
            bank = MemoryBank.load(directory)
            bank.expect_encoder(made[name, weights])
            if index is not None:
                note(f"Opening the {index} index of {len(bank)} images …")
                bank = bank.indexed(index)
            opened.append(bank)
            networks.append(made[name, weights])
        calls = [encoder_call(name, weights, pooling, readout, scales) for name, weights in named]
        server.answer(create_app(opened, networks, made_by=calls, frame=server.frame))


def _each(given: tuple[One, ...], banks: tuple[Path, ...]) -> list[One]:
    """Return what is given for each bank: one for all of them, or one for each."""
    return [*given] if len(given) == len(banks) else [given[0]] * len(banks)
