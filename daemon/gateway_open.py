"""Opening the gateway, if the config wants one and what it needs is installed: it is an extra, and slow to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inboxd.daemon.inside import Inside
from inboxd.daemon.spool import SpoolError
from inboxd.jobs.vault import SecretMissing, Vault

if TYPE_CHECKING:
    from inboxd.daemon.gateway import Gateway


def open_gateway(inside: Inside) -> Gateway | None:
    """Begin to serve HTTP, or give None when the config does not ask for it; raises SpoolError, which says why not."""
    config = inside.config
    if not config.gateway.enabled:
        return None
    try:
        from inboxd.daemon.gateway import Gateway  # noqa: PLC0415  # see above
    except ModuleNotFoundError as error:
        raise SpoolError(f"gateway: {error.name} is not installed; pip install 'inboxd[gateway]'") from None
    except ImportError as error:
        raise SpoolError(f"gateway: what it needs is installed and cannot be loaded: {error}") from None
    reference = config.gateway.token
    try:
        token = None if reference is None else str(Vault(config.secrets).fill(reference, set())).encode()
        gateway = Gateway(inside, token)
        gateway.start()
    except SecretMissing as error:
        raise SpoolError(f"gateway: token: {error}") from None
    except OSError as error:
        # A port that is taken, or a certificate that cannot be read.
        raise SpoolError(f"gateway: {error.filename or config.gateway.cert}: {error.strerror or error}") from None
    return gateway
