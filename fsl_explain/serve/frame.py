"""The frame of an app: the page and its parts, uploads, one computation at a time, and errors as one sentence."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import fsl_explain
from episodes.errors import Busy, DiskFull, MissingFile, Mistake, TooLarge, UnknownName
from fsl_explain.serve.access import Access, Guard
from fsl_explain.serve.desk import Desk, DeskIsFull
from fsl_explain.serve.pictures import webp
from fsl_explain.serve.uploads import NoImage, Uploads

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
KEPT_BY_BROWSERS = {"Cache-Control": "private, max-age=600"}
STATUS: dict[type[Exception], int] = {
    DeskIsFull: 429,
    TooLarge: 413,
    NoImage: 415,
    UnknownName: 404,
    MissingFile: 404,
    Busy: 409,
    DiskFull: 507,
}
Result = TypeVar("Result")


class OutOfDate(Mistake):
    """What is to be changed is not what it was when the page was drawn."""


@dataclass(frozen=True)
class Frame:
    """What every app of the workbench has: who is answered, where uploads lie, and who computes."""

    uploads: Uploads
    access: Access = field(default_factory=Access)
    desk: Desk = field(default_factory=Desk)

    @property
    def limits(self) -> dict[str, int]:
        """The bounds that the page should know."""
        return {"upload_bytes": self.access.most_bytes, "waiting": self.desk.places}

    def turn(self) -> AbstractContextManager[None]:
        """Wait for one's turn to compute. Raises: ``DeskIsFull``."""
        return self.desk.turn()


def new_app(frame: Frame, title: str, session: Callable[[], dict[str, Any]]) -> FastAPI:
    """Return an app that serves the page, its parts, uploads and what ``session`` says of the data."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, access=frame.access)
    for kind in (Mistake, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer_of)
    usual: dict[str, Any] = {"version": fsl_explain.__version__, "title": title, "limits": frame.limits}

    @app.get("/")
    def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/assets/{name}")
    def asset(name: str) -> Response:
        path = PAGE / name
        if path.suffix not in KINDS or path.parent != PAGE or name not in _assets():
            raise UnknownName("expected a part of the page, but there is none of this name.")
        return FileResponse(path, media_type=KINDS[path.suffix], headers={"Cache-Control": "no-cache"})

    @app.get("/api/session")
    def described() -> dict[str, Any]:
        said = session()
        return {**usual, **said, "limits": {**usual["limits"], **said.get("limits", {})}}

    @app.post("/api/uploads")
    async def upload(request: Request) -> dict[str, Any]:
        found = await run_in_threadpool(frame.uploads.add, await request.body())
        name = unquote(request.headers.get("x-name", ""))[:200]
        return {"query": f"upload:{found.content}", "width": found.width, "height": found.height, "name": name}

    @app.get("/api/uploads/{content}")
    def uploaded(content: str, width: int = 1024) -> Response:
        photograph = frame.uploads.read(content)
        return picture(webp(photograph, width), photograph.size)

    return app


def picture(content: bytes, size: tuple[int, int] | None = None) -> Response:
    """Answer with a WebP image; ``size`` is that of the photograph it shows, in whose pixels boxes are drawn."""
    told = {} if size is None else {"X-Width": str(size[0]), "X-Height": str(size[1])}
    return Response(content, media_type="image/webp", headers={**KEPT_BY_BROWSERS, **told})


def download(content: bytes | str, media_type: str, name: str) -> Response:
    """Answer with a file to keep."""
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _assets() -> set[str]:
    return {path.name for path in PAGE.iterdir()}


def _answer_of(_request: Request, error: Exception) -> Response:
    """Say what is wrong in one sentence; what is our own fault has its traceback in the server's log."""
    if isinstance(error, HTTPException):
        return _said(error.status_code, str(error.detail))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return _said(400, f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]}." if place else f"{first['msg']}.")
    if isinstance(error, OutOfDate):
        return _said(409, str(error))
    if isinstance(error, Mistake):
        return _said(next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400), str(error))
    return _said(500, "The server failed on this request, which is a fault of ours; its terminal says more.")


def _said(status: int, sentence: str) -> Response:
    headers = {"Retry-After": "2"} if status == 429 else None
    return JSONResponse({"error": sentence[:1].upper() + sentence[1:]}, status_code=status, headers=headers)
