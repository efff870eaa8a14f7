"""The tree of errors: what went wrong with one attempt, whether trying again may help, and when.

    Fault
    ├── Temporary            another attempt may succeed
    │   ├── Network          kind `network`, the fallback when nothing more precise is known
    │   │   ├── Dns          `dns`        the name could not be resolved
    │   │   ├── Tls          `tls`        the handshake broke off
    │   │   └── Timeout      `timeout`    the deadline passed, or the server said 408
    │   ├── Throttled        `throttled`  425, 429
    │   ├── Server           `server`     every 5xx but 501 and 505
    │   └── TryAgain         `handler`    a handler's function asks for it, or met an OSError of a network or a disk
    └── Permanent            the same request would fail again
        ├── Client           `client`     a status that the job does not accept
        ├── Refusal          `server`     501, 505
        ├── Unauthorized     `auth`       the API's own credentials cannot be had
        ├── Certificate      `tls`        the server's certificate is not trusted
        ├── Cors             `cors`       the job sent Origin and the answer does not allow it
        ├── TooLarge         `too_large`
        ├── BadResponse      `bad_response`
        ├── Blocked          `blocked`    the host or address may not be called
        ├── Invalid          `invalid`    the job itself is wrong
        ├── Cancelled        `cancelled`  somebody took the job back
        ├── HandlerFailed    `handler`    a handler's function raised any other exception
        ├── QueueRefused     `queue`      a queue of messages does not do it
        ├── Crashed          `crashed`    the process that ran a handler's function died
        ├── Poisoned         `poisoned`   the daemon crashed too often in the middle of it
        ├── Interrupted      `interrupted` stopped before the call had ended
        ├── Skipped          `skipped`    another job that had to be done before was not
        └── Internal         `internal`   our own mistake; please report it

Deciding is separate from failing: `patience` says what follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from inboxd.jobs.patience import Again, GiveUp
    from inboxd.jobs.result import Response

# RFC 9110 10.2.3 sets no upper bound on Retry-After; a server's slip must not park an API for a year.
RETRY_AFTER_CAP = 3600.0
# In characters. A job of nothing but mistakes should not get an answer larger than itself.
LONGEST_MESSAGE = 4000


class Fault(Exception):
    """One attempt, or one job, that did not succeed.

    `message` is for people and holds no secret. `status` is the HTTP status if there was one,
    `retry_after` the server's own word in seconds, `uncertain` is true when the request was sent and
    no answer came, so that nobody knows whether it took effect.
    """

    kind: ClassVar[str] = "network"
    temporary: ClassVar[bool] = False
    # What follows from it; set by the lane that made the attempt.
    decision: Again | GiveUp | None = None
    # What the server replied, if it did; it goes into the answer.
    response: Response | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        uncertain: bool = False,
    ) -> None:
        # It goes into a file of JSON, where halves of characters have no place, and quotes what strangers wrote.
        self.message = message[:LONGEST_MESSAGE].encode("utf-8", "backslashreplace").decode()
        super().__init__(self.message)
        self.status = status
        self.retry_after = retry_after
        self.uncertain = uncertain


class Temporary(Fault):
    """Another attempt may succeed."""

    temporary = True


class Permanent(Fault):
    """The same request would fail again."""


class Network(Temporary):
    """The network failed, in a way that nothing below describes better."""


class Dns(Network):
    """The host's name could not be resolved."""

    kind = "dns"


class Tls(Network):
    """The TLS handshake broke off."""

    kind = "tls"


class Timeout(Network):
    """The deadline passed, or the server said 408."""

    kind = "timeout"


class Throttled(Temporary):
    """The server asks us to slow down (425, 429)."""

    kind = "throttled"


class Server(Temporary):
    """The server failed (5xx but 501 and 505)."""

    kind = "server"


class TryAgain(Temporary):
    """A handler's function could not do its work now; for functions to raise, with `retry_after` if they know."""

    kind = "handler"


class HandlerFailed(Permanent):
    """A handler's function raised an exception; with the same arguments it would do so again."""

    kind = "handler"


class QueueRefused(Permanent):
    """A queue does not do what was asked: a message is not leased to who asks, or too many are."""

    kind = "queue"


class Crashed(Permanent):
    """The process that ran a handler's function died: what it did until then, nobody knows."""

    kind = "crashed"


class Client(Permanent):
    """A status that the job does not accept."""

    kind = "client"


class Refusal(Permanent):
    """The server will never do this (501, 505)."""

    kind = "server"


class Unauthorized(Permanent):
    """The API's own credentials cannot be had: a secret that is not there, a token that is refused."""

    kind = "auth"


class Certificate(Permanent):
    """The server's certificate is not trusted."""

    kind = "tls"


class Cors(Permanent):
    """The job sent Origin and the answer does not allow that origin."""

    kind = "cors"


class TooLarge(Permanent):
    """The answer is larger than the bound."""

    kind = "too_large"


class BadResponse(Permanent):
    """What came back is not a usable HTTP response."""

    kind = "bad_response"


class Blocked(Permanent):
    """The host or its address may not be called."""

    kind = "blocked"


class Invalid(Permanent):
    """The job itself is wrong; `message` says what, where, and what was expected."""

    kind = "invalid"


class Poisoned(Permanent):
    """The daemon crashed too often while this job was being called."""

    kind = "poisoned"


class Cancelled(Permanent):
    """Somebody took the job back."""

    kind = "cancelled"


class Interrupted(Permanent):
    """The call was still running when everything had to stop."""

    kind = "interrupted"


class Skipped(Permanent):
    """One that had to be done before has not ended well."""

    kind = "skipped"


class Internal(Permanent):
    """An exception nobody foresaw."""

    kind = "internal"


THROTTLING = frozenset({425, 429})
REFUSING = frozenset({501, 505})
SERVER_ERRORS = range(500, 600)


def of_status(status: int, headers: Mapping[str, str], now: float) -> Fault:
    """Give the fault that a status which is not `ok` stands for; `now` is epoch seconds."""
    message = f"the server answered {status}"
    after = retry_after(headers.get("Retry-After"), now)
    if status == 408:  # noqa: PLR2004  # RFC 9110 15.5.9
        return Timeout(message, status=status, retry_after=after)
    if status in THROTTLING:
        return Throttled(message, status=status, retry_after=after)
    if status in REFUSING:
        return Refusal(message, status=status)
    if status in SERVER_ERRORS:
        return Server(message, status=status, retry_after=after)
    return Client(message, status=status)


def retry_after(value: str | None, now: float) -> float | None:
    """Read Retry-After (RFC 9110 10.2.3), seconds or an HTTP date, as seconds from `now`, capped; or None."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        # A number of a thousand digits is a slip as well: its length is looked at before its value.
        return RETRY_AFTER_CAP if len(value) > len(str(RETRY_AFTER_CAP)) else min(float(value), RETRY_AFTER_CAP)
    try:
        due = parsedate_to_datetime(value)
        # The old forms (RFC 9110 5.6.7) may name no zone; all of them mean GMT.
        wait = (due if due.tzinfo else due.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), RETRY_AFTER_CAP)
