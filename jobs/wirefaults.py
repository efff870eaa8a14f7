"""What can go wrong on the wire: curl's codes become the exceptions of `requests`, in one table.

Every error says in `sent` whether the server may have got the request, because only then its outcome is uncertain.
No message holds a URL, its query or its userinfo: these hold secrets, and messages go into logs and answers.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

from requests import exceptions


class DnsError(exceptions.ConnectionError):
    """A name has no address, or nobody could be asked."""


class TlsError(exceptions.SSLError):
    """No TLS was agreed: `certificate` tells a refused certificate (permanent) from a cut handshake (temporary)."""

    certificate = False


class BodyTooLarge(exceptions.RequestException):
    """The decoded body grew beyond its bound."""


class AddressRefused(exceptions.RequestException):
    """The guard refused every address of the host."""


class BadReply(exceptions.ConnectionError):
    """What came back is not HTTP."""


class Fault(NamedTuple):
    """The exception one of curl's codes becomes, and what happened in plain words."""

    kind: type[exceptions.RequestException]
    words: str


COULDNT_CONNECT = 7
PARTIAL_FILE = 18
_SSL_CONNECT_ERROR = 35
_OPERATION_TIMEDOUT = 28
# Codes that say no more than that reading or writing went wrong: HTTP/2 connection, send, receive, HTTP/2 stream.
_BROKEN = frozenset({16, 55, 56, 92})

_LATE = Fault(exceptions.ReadTimeout, "no whole answer came in time")
_LATE_CONNECT = Fault(exceptions.ConnectTimeout, "no connection was made in time")
_LOST = Fault(exceptions.ConnectionError, "the connection broke")
_CUT = Fault(exceptions.ChunkedEncodingError, "the answer was cut short or malformed")
_NOT_HTTP = Fault(BadReply, "the server's reply is not HTTP")
_CERTIFICATE = Fault(TlsError, "a certificate was refused")
# The codes of curl/curl.h (man 3 libcurl-errors); pycurl has names only for the older ones.
FAULTS = {
    1: _NOT_HTTP,  # UNSUPPORTED_PROTOCOL: an HTTP version we did not ask for, as other schemes never get this far
    3: Fault(exceptions.InvalidURL, "the URL is malformed"),  # URL_MALFORMAT
    5: Fault(DnsError, "the proxy's name could not be resolved"),  # COULDNT_RESOLVE_PROXY
    6: Fault(DnsError, "the host's name could not be resolved"),  # COULDNT_RESOLVE_HOST
    COULDNT_CONNECT: Fault(exceptions.ConnectionError, "no connection could be made"),
    8: _NOT_HTTP,  # WEIRD_SERVER_REPLY
    PARTIAL_FILE: _CUT,
    26: Fault(exceptions.ConnectionError, "the body to send was shorter than announced"),  # READ_ERROR
    _SSL_CONNECT_ERROR: Fault(TlsError, "the TLS handshake failed"),
    52: Fault(exceptions.ConnectionError, "the server closed the connection without an answer"),  # GOT_NOTHING
    58: _CERTIFICATE,  # SSL_CERTPROBLEM: our own
    60: _CERTIFICATE,  # PEER_FAILED_VERIFICATION
    61: Fault(exceptions.ContentDecodingError, "the body could not be decoded"),  # BAD_CONTENT_ENCODING
    77: _CERTIFICATE,  # SSL_CACERT_BADFILE
    82: _CERTIFICATE,  # SSL_CRL_BADFILE
    83: _CERTIFICATE,  # SSL_ISSUER_ERROR
    90: _CERTIFICATE,  # SSL_PINNEDPUBKEYNOTMATCH
    91: _CERTIFICATE,  # SSL_INVALIDCERTSTATUS
    97: Fault(exceptions.ProxyError, "the proxy refused"),  # PROXY
    98: _CERTIFICATE,  # SSL_CLIENTCERT
    100: _NOT_HTTP,  # TOO_LARGE
}


def translate(code: int, words: str, url: str, *, sent: bool, begun: bool) -> exceptions.RequestException:
    """Return the exception for curl's `code` and its own `words` about it.

    `sent`: bytes of the request have left. `begun`: the answer's header has come.
    """
    certificate = "certificate" in words
    if code == _OPERATION_TIMEDOUT:
        fault = _LATE if sent else _LATE_CONNECT
    elif certificate and (code in _BROKEN or code == _SSL_CONNECT_ERROR):
        # The server refuses ours: in TLS 1.3 it says so only after the handshake.
        fault = _CERTIFICATE
    elif code in _BROKEN and "Too large response headers" in words:
        # Again and again it would be so.
        fault = _NOT_HTTP
    elif code in _BROKEN and begun:
        fault = _CUT
    else:
        fault = FAULTS.get(code, _LOST)
    error = fault.kind(f"{fault.words} ({words})" if words and not _tells(words, url) else fault.words)
    if isinstance(error, TlsError):
        error.certificate = fault is _CERTIFICATE
    return error


def _tells(words: str, url: str) -> bool:
    """Whether curl's words hold a URL, or a part of this one that may be secret."""
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    return "://" in words or any(part in words for part in (userinfo, parts.query) if part)
