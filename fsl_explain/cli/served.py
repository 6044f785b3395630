"""What both commands that serve a page do: take the address first, then open what is served, then answer."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from episodes.errors import MissingPackage, Mistake
from fsl_explain.cli.address import Address
from fsl_explain.cli.progress import say
from fsl_explain.config.scales import scales_from_text, sides_from_text

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from fsl_explain.serve.frame import Frame


@dataclass(frozen=True)
class Server:
    """An address that is taken, and the frame of the app that will answer there."""

    frame: "Frame"
    taken: socket
    address: str
    opens: bool
    temporary: Path | None  # a folder that goes with the process

    def answer(self, app: "ASGIApp") -> None:
        """Answer until Ctrl-C; the process ends then."""
        from fsl_explain.serve.running import serve  # noqa: PLC0415 - needs an optional package

        serve(app, self.taken, self.address, lambda text: say(text, lines=True), self.opens, self.temporary)


def encoder_call(
    name: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    support_scales: str | None = None,
) -> str:
    """Return the Python that makes the encoder that the options of a command name."""
    options = {"checkpoint": checkpoint and str(checkpoint), "pooling": pooling, "readout": readout}
    given = "".join(f", {option}={value!r}" for option, value in options.items() if value is not None)
    made = f"fsl_explain.Encoder.named({name!r}{given})"
    if scales is None:
        return made
    sides, weights = scales_from_text(scales)
    shown = "" if support_scales is None else f", support_scales={sides_from_text(support_scales)!r}"
    return f"{made}.at_scales({sides!r}{'' if weights is None else f', {weights!r}'}{shown})"


@contextmanager
def served(asked: Address) -> Iterator[Server]:
    """Take an address. Raises: ``ValueError`` where it cannot be had; ``ImportError`` without the extra ``serve``."""
    try:
        import fastapi  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError:
        raise MissingPackage.of_extra("serve", "FastAPI and uvicorn", "serve") from None
    from fsl_explain.serve.access import access_for  # noqa: PLC0415 - needs an optional package
    from fsl_explain.serve.frame import Frame  # noqa: PLC0415
    from fsl_explain.serve.running import address_of, bound  # noqa: PLC0415
    from fsl_explain.serve.uploads import Uploads  # noqa: PLC0415

    access = access_for(asked.host, asked.token, asked.allow_host)
    if asked.uploads is not None and asked.uploads.exists() and not asked.uploads.is_dir():
        raise Mistake(f"expected a folder for uploads, but {asked.uploads} is a file; choose another --uploads.")
    taken = bound(asked.host, asked.port)
    temporary = Path(tempfile.mkdtemp(prefix="workbench-")) if asked.uploads is None else None
    try:
        frame = Frame(Uploads(asked.uploads or temporary or Path()), access)
        yield Server(frame, taken, address_of(taken, asked.host, asked.token), asked.open_browser, temporary)
    finally:
        taken.close()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
