"""The app of one bank, or of several that are looked at side by side."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fastapi import FastAPI

from episodes.errors import Mistake
from fsl_explain.encoder import Encoder
from fsl_explain.serve.frame import Frame, new_app
from fsl_explain.serve.uploads import Uploads
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.serve.addresses import routes
from retrieval_explain.serve.asking import Workbench
from retrieval_explain.serve.queries import Queries
from retrieval_explain.serve.served_bank import ENCODER, MOST_NEIGHBORS, ServedBank
from retrieval_explain.serve.why_not_answer import BRUSH


def create_app(
    bank: MemoryBank | Sequence[MemoryBank],
    encoder: Encoder | Sequence[Encoder],
    *,
    names: Sequence[str] = (),
    made_by: Sequence[str] = (),
    frame: Frame | None = None,
) -> FastAPI:
    """Return the app of a bank and the encoder that made it, or of several of each.

    ``names`` are what the page calls the banks, their folders' names where none are given; ``made_by`` is the Python
    that makes each encoder, for the calls that the page shows; ``frame`` says who is answered and where uploads are
    kept, this machine alone and a new temporary folder if None.

    Raises: ``ValueError`` for an encoder that did not make its bank, or not one encoder, name or call for each.
    """
    banks = [bank] if isinstance(bank, MemoryBank) else list(bank)
    encoders = [encoder] if isinstance(encoder, Encoder) else list(encoder)
    if len(encoders) != len(banks) or not banks:
        raise Mistake(f"expected one encoder for each of {len(banks)} banks, but got {len(encoders)}; give as many.")
    called = list(names) or [_name_of(one, number) for number, one in enumerate(banks)]
    if len(called) != len(banks):
        raise Mistake(f"expected a name for each of {len(banks)} banks, but got {len(called)}; give as many, or none.")
    for one, network in zip(banks, encoders, strict=True):
        one.expect_encoder(network)
    calls = list(made_by) or [ENCODER] * len(banks)
    if len(calls) != len(banks):
        raise Mistake(f"expected made_by for each of {len(banks)} banks, but got {len(calls)}; give as many, or none.")
    served = [ServedBank(i, *each) for i, each in enumerate(zip(banks, encoders, called, calls, strict=True))]
    frame = frame or Frame(Uploads(Path(mkdtemp(prefix="workbench-"))))

    def session() -> dict[str, Any]:
        limits = {"k": MOST_NEIGHBORS, "brush": list(BRUSH)}
        return {"kind": "banks", "limits": limits, "banks": [one.described() for one in served]}

    app = new_app(frame, " and ".join(called), session)
    app.state.workbench = Workbench(served, Queries(served, frame.uploads), frame)
    app.include_router(routes)
    return app


def _name_of(bank: MemoryBank, number: int) -> str:
    return f"bank {number + 1}" if bank.directory is None else bank.directory.resolve().name
