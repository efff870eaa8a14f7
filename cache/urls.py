"""URLs in the one form in which they are compared (RFC 3986 section 6.2).

The one rule: two writings become the same only if every server takes them for the same.
"""

import re
import string

# RFC 3986 section 6.2.3: a port that is the scheme's own may be left out.
_DEFAULT_PORTS = {"http": "80", "https": "443"}

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
# Already as section 6.2.2 wants it: only characters a URI may hold (section 2), and nothing percent-encoded.
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]*")
_UNTIDY = re.compile(r"%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]")


def normal_url(url: str) -> str:
    """Return the URL as RFC 3986 section 6.2 normalizes it, without its fragment, its query sorted by name.

    Values of one repeated name keep their order. Characters a URI may not hold are encoded, as clients do before
    they send. Dot segments are resolved (section 6.2.2.3), as the clients do too. A text that is no absolute URL is
    returned as it was written. Userinfo is kept: the result is for comparing, never for showing.
    """
    if "://" not in url:
        return url
    locator, question, query = _tidy(url).partition("#")[0].partition("?")
    scheme, _, rest = locator.partition("://")
    scheme = scheme.lower()
    authority, _, path = rest.partition("/")
    userinfo, at, host = authority.rpartition("@")
    if "&" in query:
        query = "&".join(sorted(query.split("&"), key=name_of))
    return f"{scheme}://{userinfo}{at}{normal_host(scheme, host)}{_without_dots('/' + path)}{question}{query}"


def normal_host(scheme: str, host: str) -> str:
    """Return host and port of an authority in lower case, without the port that is the scheme's own."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port in ("", _DEFAULT_PORTS.get(scheme)) else host).lower()


def normal_path(path: str) -> str:
    """Return an absolute path as it is in a `normal_url`."""
    return _without_dots(_tidy(path))


def name_of(pair: str) -> str:
    """Return the name of one pair of a query, as it is written."""
    return pair.partition("=")[0]


def _tidy(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _UNTIDY.sub(_tidied, text)


def _tidied(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 1:
        # Text from JSON may hold lone surrogates. A `%` that begins no escape is a character like these, else the
        # digits of a later escape could complete it.
        return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))
    character = chr(int(text[1:], 16))
    return character if character in _UNRESERVED else text.upper()


def _without_dots(path: str) -> str:
    """Remove dot segments from an absolute path (RFC 3986 section 5.2.4)."""
    if "/." not in path:
        return path
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        # A path that ended in a dot segment named a folder, and still does.
        kept.append("")
    return "/" + "/".join(kept)
