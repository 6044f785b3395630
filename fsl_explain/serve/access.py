"""Which requests are answered: those for this host, from this page, of bounded size, with the token where there is one.

A page of another site must not steer a server on the user's own machine. It may reach it by its address (which the
browser says in ``Origin``) or by a name of its own that it lets point here (DNS rebinding, which ``Host`` shows).
"""

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from episodes.errors import Mistake

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "workbench-token"
SHORTEST_TOKEN = 16
READING = ("GET", "HEAD")
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Access:
    """What a request must be to be answered."""

    names: frozenset[str] = frozenset(LOOPBACK)  # hosts that a request may be addressed to, without a port
    any_address: bool = False  # whether any numeric address is one of them, for a server on a public one
    token: str | None = field(default=None, repr=False)
    most_bytes: int = 32_000_000  # of a request's body

    def is_own(self, host: str) -> bool:
        """Whether a host, with or without a port, is one of the server's own."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self.names or (self.any_address and _is_address(name))


def access_for(host: str, token: str | None, allowed: tuple[str, ...] = (), most_bytes: int = 32_000_000) -> Access:
    """Return what is answered on an address: on a public one, nothing without the token.

    Raises: ``ValueError`` for a public address without a token, or a token that is short.
    """
    public = host not in LOOPBACK
    if public and token is None:
        raise Mistake(
            f"expected a token, because {host} can be reached by other machines, which could read the images and "
            "change the bank; add --token TEXT, or serve on 127.0.0.1."
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise Mistake(f"expected a token of at least {SHORTEST_TOKEN} plain letters and digits; choose a longer one.")
    own = (host, socket.gethostname()) if public else ()
    names = frozenset(name.lower() for name in (*LOOPBACK, *own, *allowed))
    return Access(names, public, token, most_bytes)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Lets through what ``Access`` allows, and puts the headers on every answer that keep a browser to this server."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app: ASGIApp = app
        self.access: Access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with one sentence."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
                found.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, guarded)
            return
        await self.app(scope, _bounded(receive, self.access.most_bytes), guarded)

    def _refused(self, scope: Scope) -> Response | None:
        headers, access = Headers(scope=scope), self.access
        if not access.is_own(headers.get("host", "")):
            return _refusal(400, "this name is not one of the server's; open the address that it printed.")
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        changing = scope["method"] not in READING
        if changing and (site not in ("same-origin", "none") or not _is_from_here(origin, headers.get("host", ""))):
            return _refusal(403, "the request came from another site's page; use the workbench's own.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > access.most_bytes:
            return _refusal(413, too_large(access.most_bytes))
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.access.token
        if token is None:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if any(hmac.compare_digest(given.encode(), token.encode()) for given in (cookie, bearer)):
            return None
        given = asked.pop("token", [""])[0]
        if scope["method"] in READING and hmac.compare_digest(given.encode(), token.encode()):
            rest = urlencode(asked, doseq=True)
            answer = RedirectResponse(f"{scope['path']}{'?' if rest else ''}{rest}", status_code=303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        return _refusal(401, "expected the server's token; open the address that it printed, which holds it.")


def too_large(most_bytes: int) -> str:
    """Return the sentence for a body that is too large."""
    return f"expected at most {most_bytes / 1e6:g} MB; send a smaller image."


def _is_from_here(origin: str | None, host: str) -> bool:
    return origin is None or urlsplit(origin).netloc == host


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence[0].upper() + sentence[1:]}, status_code=status)


def _bounded(receive: Receive, most_bytes: int) -> Receive:
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most_bytes:
            raise HTTPException(413, too_large(most_bytes))
        return message

    return bounded
