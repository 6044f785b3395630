"""A server process: the address is taken first, said, and given back within a second of Ctrl-C."""

import ctypes
import os
import shutil
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from starlette.types import ASGIApp

from episodes.errors import Busy, Mistake

LARGEST_PORT = 65535
M_ARENA_MAX = -8  # of malloc.h
LONGEST_END = 0.5  # seconds from Ctrl-C to the end


def bound(host: str, port: int) -> socket.socket:
    """Take an address; port 0 is any free one. Raises: ``ValueError`` in one sentence where it cannot be had."""
    if not 0 <= port <= LARGEST_PORT:
        raise Mistake(f"expected a port from 0 (any that is free) to {LARGEST_PORT}, but got {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
        taken.listen()  # whoever reads the address may connect at once, and waits
    except OSError as error:
        taken.close()
        raise Busy(
            f"{host}:{port} cannot be served on ({error.strerror}); choose another --port, or 0 for any that is free."
        ) from error
    return taken


def address_of(taken: socket.socket, host: str, token: str | None) -> str:
    """Return the address to open."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{taken.getsockname()[1]}/{f'?token={token}' if token else ''}"


def serve(
    app: ASGIApp, taken: socket.socket, address: str, say: Callable[[str], None], opens: bool, temporary: Path | None
) -> None:
    """Answer until Ctrl-C or a request to end; what is computed then is dropped, and nothing is left half written.

    The folder ``temporary`` goes with the process.
    """
    import uvicorn  # noqa: PLC0415 - an optional dependency

    _share_one_heap()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1, lifespan="off"
    )
    server = uvicorn.Server(config)
    asked_to_end = server.handle_exit

    def end(sig: int, frame: FrameType | None) -> None:
        threading.Timer(LONGEST_END, _end, [say, temporary]).start()  # whatever is still computed or sent then
        asked_to_end(sig, frame)

    server.handle_exit = end  # type: ignore[method-assign]
    say(f"Workbench: {address}\nCtrl-C ends it.")
    sys.stdout.flush()  # whoever reads a pipe waits for the address
    if opens:
        webbrowser.open(address)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server raises its signal again when it has ended
    with suppress(KeyboardInterrupt):
        server.run(sockets=[taken])
    _end(say, temporary)


def _share_one_heap() -> None:
    """Keep glibc from giving each thread a heap of its own, which threads that compute in turn would all fill."""
    with suppress(OSError, AttributeError, TypeError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _end(say: Callable[[str], None], temporary: Path | None) -> None:
    """End the process: a thread that still computes would keep it. Banks are written aside and switched at once."""
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
    say("Stopped.")
    sys.stdout.flush()
    os._exit(0)
