"""Which two calls are the same: one SHA-256 over method, URL, body, chosen headers and credentials.

The one rule: when in doubt two calls differ, because a miss costs a call and a false hit serves wrong content.
Two credentials never share a key. The key is a digest of everything, so nothing secret can be read from it; what
people do read (logs, answers, entries) goes through `redact` and `is_secret`, so that all hide by the same list.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote_plus

from inboxd.cache.urls import name_of, normal_url

# Hashed into every key: raise it when the rules below change, and old entries are simply not found any more.
_RULES = 1

# Names are looked at in lower case, anywhere in them unless a sign says otherwise. Too many rather than too few:
# a wrong guess hides a value or divides a key, a missed one shows a secret or lets two users share an answer.
# `auth` leaves out author, authority and the server's question WWW-Authenticate; `key` as the last word leaves out
# the idempotency key, which is new for each job, no secret, and would make every cached call a miss.
_SECRET = re.compile(
    r"auth(?!or(?!iz)|enticate$)|cookie|token|secret|credential|signature|sess(?:ion|id)|bearer|jwt"
    r"|pass(?:w|phrase|code)|pwd|(?<![a-z])(?:sig|sid|otp|pin)(?![a-z])|(?<!idempotency.)(?<!idempotence.)key$"
)
# Headers whose value is a URL, which may hold a secret as any other.
URL_HEADERS = frozenset({"location", "content-location", "refresh"})
# Names recur, so their verdicts are remembered; longer ones are not, or strangers' names could fill the memory.
_USUAL_LENGTH = 64
_USUAL_NAMES = 512
_HIDDEN = "***"


def key(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] = {},
    vary: Iterable[str] = (),
    query: Iterable[str] | None = None,
) -> str:
    """Return the call's key, 64 lower-case hexadecimal digits; no input raises.

    Of the headers, those named in `vary` take part (in any case), and always those that `is_secret`. That a header
    named in `vary` is absent is part of the key too. Of the URL's query, only the parameters named in `query` take
    part, if any are named. Methods are case-sensitive (RFC 9110 section 9.1).
    """
    varied, names = tuple(vary), tuple(headers)
    if sum(map(len, names)) <= _USUAL_NAMES:
        wanted, names = _taking_part(varied, names)
    else:
        wanted, names = _taking_part.__wrapped__(varied, names)
    chosen = sorted((name.lower(), headers[name].strip(" \t")) for name in names)
    digest = None if body is None else sha256(body).digest()
    # ascii() quotes and escapes each part, so no part can pose as two, and it takes any text there is.
    call = ascii((_RULES, method, _narrowed(normal_url(url), query), digest, wanted, chosen))
    return sha256(call.encode()).hexdigest()


def varied(headers: Mapping[str, str], vary: str) -> str | None:
    """Return a digest of the request `headers` that an answer's Vary names; None if it can be used for no other call.

    An answer serves only requests whose digest is the same (RFC 9111 section 4.1).
    """
    names = sorted({name.strip().lower() for name in vary.split(",")} - {""})
    if "*" in names:
        return None
    if not names:
        return ""
    values = {name.lower(): value.strip(" \t") for name, value in headers.items()}
    return sha256(ascii([(name, values.get(name)) for name in names]).encode()).hexdigest()


def is_secret(name: str) -> bool:
    """Tell whether a header, query parameter or field of this name holds a credential; case does not matter.

    Authorization, Proxy-Authorization, Cookie, Set-Cookie and X-Api-Key are, and every name that speaks of auth,
    tokens, secrets, credentials, signatures, sessions or passwords, or ends in `key` (but the idempotency key).
    """
    return _is_secret(name) if len(name) <= _USUAL_LENGTH else _is_secret.__wrapped__(name)


def redact(url: str) -> str:
    """Return the URL fit to be shown: userinfo and values of secret query parameters as `***`, no fragment.

    What stands in the path is shown. Redacting twice changes nothing more.
    """
    locator, question, query = url.partition("#")[0].partition("?")
    scheme, slashes, rest = locator.partition("//")
    authority, slash, path = rest.partition("/")
    _, at, host = authority.rpartition("@")
    if at:
        locator = f"{scheme}{slashes}{_HIDDEN}@{host}{slash}{path}"
    if "=" in query:
        query = "&".join(_redact_pair(pair) for pair in query.split("&"))
    return f"{locator}{question}{query}"


@lru_cache(maxsize=1024)
def _taking_part(vary: tuple[str, ...], names: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """Return the names of `vary` as the key has them, and which of a request's header names take part."""
    varied = {name.lower() for name in vary}
    return sorted(varied), tuple(name for name in names if name.lower() in varied or is_secret(name))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET.search(name.lower()) is not None


def _redact_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={_HIDDEN}" if equals and is_secret(unquote_plus(name)) else pair


def _narrowed(url: str, names: Iterable[str] | None) -> tuple[str, ...]:
    """Return the URL with only the parameters of those names; that it was narrowed is told by the form."""
    if names is None:
        return (url,)
    wanted = frozenset(names)
    locator, _, query = url.partition("?")
    kept = (pair for pair in query.split("&") if unquote_plus(name_of(pair)) in wanted)
    return (locator, "&".join(kept), *sorted(wanted))
