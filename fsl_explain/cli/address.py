"""Where a page is served and who is answered: the options of both commands that serve one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Address:
    """An address, and what a browser must know and say to be answered there."""

    host: Annotated[str, Parameter(help="The address to serve on.")] = "127.0.0.1"
    port: Annotated[int, Parameter(help="Its port; 0 is any that is free.")] = 8765
    token: Annotated[
        str | None,
        Parameter(
            help="What a browser must know to be answered, at least 16 letters and digits; a public address needs one."
        ),
    ] = None
    allow_host: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            show_default=False,
            help="A name by which browsers reach this server, such as that of a proxy; may be repeated.",
        ),
    ] = ()
    uploads: Annotated[
        Path | None,
        Parameter(
            help="Where images that are given to the page are kept, so that links to them last; a temporary folder by "
            "default."
        ),
    ] = None
    open_browser: Annotated[bool, Parameter(name="--open", negative="", show_default=False, help="Open the page.")] = (
        False
    )


HERE = Address()
