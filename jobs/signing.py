"""Signs a request in the Standard Webhooks scheme, so that its receiver knows who sent it, and when.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: HMAC-SHA256 with the secret
behind `whsec_` (base64) over `id.timestamp.body`. Receivers refuse a timestamp some minutes old, so each attempt is
signed anew; the id stays the same, by which they know a message that they have had.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"


def signed(secret: str, message: str, now: float, body: bytes) -> dict[str, str]:
    """Give the headers that sign `body`, sent at `now` (wall time) as the message of that id.

    Raises ValueError when the secret is none, without telling it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(f"expected a secret of {PREFIX} and base64")
    timestamp = int(now)
    content = f"{message}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {"webhook-id": message, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
