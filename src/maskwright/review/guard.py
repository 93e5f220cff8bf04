"""Who may ask: requests of this page alone, to a name that this server has, with the token where one is set."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

COOKIE = "maskwright_review"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: nothing is loaded from elsewhere, nothing is framed, nothing is kept."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Guard:
    """What a request needs.

    Attributes:
        token: that each request must carry, in `?token=`, the cookie or the header X-Review-Token; empty: none, and
            then only names of this machine are answered to.
    """

    token: str = ""

    def refusal(self, method: str, headers: Mapping[str, str], query: str) -> str | None:
        """Return why a request is refused, None if it isn't.

        Args:
            method: of HTTP.
            headers: with lower-case names.
            query: what follows the question mark.
        """
        host = headers.get("host", "")
        if not self.token and _name(host) not in _LOOPBACK:
            return "this server answers to localhost alone"
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            return "another page's request"
        site = headers.get("sec-fetch-site", "none")
        visited = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not visited:
            return "another page's request"
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return "not a request of this page"
        if self.token and not any(
            hmac.compare_digest(t.encode(), self.token.encode()) for t in _tokens(headers, query)
        ):
            return "the token is missing or wrong: open the address that the command printed"
        return None

    def cookie(self, query: str, host: str) -> str | None:
        """Return the cookie that spares the page the token in its addresses, None if the token isn't in this one."""
        if not self.token or self.token not in parse_qs(query).get("token", []):
            return None
        return f"{cookie_name(host)}={self.token}; HttpOnly; SameSite=Strict; Path=/"


def cookie_name(host: str) -> str:
    """Return the name of the cookie of a server: browsers keep cookies by host, and several reviews may run on one.

    Example:
        >>> cookie_name("localhost:8765"), cookie_name("[::1]:80"), cookie_name("here")
        ('maskwright_review_8765', 'maskwright_review_80', 'maskwright_review_80')
    """
    port = host.rpartition(":")[2]
    return f"{COOKIE}_{port if port.isdecimal() and len(port) < 6 else 80}"


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen at is reached from this machine alone.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return the name in a Host header, without the port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _tokens(headers: Mapping[str, str], query: str) -> list[str]:
    found = [headers.get("x-review-token", ""), *parse_qs(query).get("token", [])]
    wanted = cookie_name(headers.get("host", ""))
    for pair in headers.get("cookie", "").split(";"):  # an odd one of another server of this machine spoils no other
        name, _, value = pair.strip().partition("=")
        found += [value] if name == wanted else []
    return found


def _place(origin: str) -> str | None:
    """Return host and port of an origin of the web; None: it is none."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # such as http://[
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
