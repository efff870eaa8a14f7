"""What an exception of the transport means: the fault it becomes, in one table."""

from __future__ import annotations

from requests import exceptions

from inboxd.jobs import faults, transport

# The first class that fits decides, so the narrower ones stand first.
_FAULTS: tuple[tuple[type[exceptions.RequestException], type[faults.Fault]], ...] = (
    (transport.AddressRefused, faults.Blocked),
    (transport.BodyTooLarge, faults.TooLarge),
    (transport.BadReply, faults.BadResponse),
    (transport.DnsError, faults.Dns),
    (exceptions.Timeout, faults.Timeout),
    (exceptions.SSLError, faults.Tls),
    (exceptions.ContentDecodingError, faults.BadResponse),
    (exceptions.ChunkedEncodingError, faults.Network),
    (exceptions.ConnectionError, faults.Network),
    (exceptions.InvalidHeader, faults.Invalid),
    (exceptions.InvalidURL, faults.Invalid),
    (exceptions.InvalidSchema, faults.Invalid),
)


def fault_of(error: exceptions.RequestException) -> faults.Fault:
    """Give the fault that an exception of the transport stands for."""
    kind = next((fault for cause, fault in _FAULTS if isinstance(error, cause)), faults.Network)
    if kind is faults.Tls and getattr(error, "certificate", False):
        kind = faults.Certificate
    return kind(str(error), uncertain=bool(getattr(error, "sent", False)))
