"""What can be wrong with an SQS request, by the names under which its clients know it.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html; clients that once spoke the
query protocol take the older of the two names from a header.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SqsError(Exception):
    """An answer of status 400. `kind` is the name in the JSON protocol, `code` the older one."""

    kind: ClassVar[str] = "InvalidParameterValue"
    code: ClassVar[str | None] = None

    @property
    def header(self) -> str:
        """What the header `x-amzn-query-error` says."""
        return f"{self.code or self.kind};Sender"

    def to_dict(self) -> dict[str, Any]:
        """Give the body of the answer."""
        return {"__type": f"com.amazonaws.sqs#{self.kind}", "message": str(self)}

    def entry(self, identifier: str) -> dict[str, Any]:
        """Give the error as it stands in the answer to a batch."""
        return {"Id": identifier, "SenderFault": True, "Code": self.code or self.kind, "Message": str(self)}


class _Prefixed(SqsError):
    """Those whose older name is the name behind a prefix."""

    def __init_subclass__(cls) -> None:
        cls.code = f"AWS.SimpleQueueService.{cls.kind}"


class InvalidValue(SqsError):
    """A parameter has a value that cannot be."""


class Missing(SqsError):
    """A parameter is not there."""

    kind = "MissingParameter"


class NoSuchQueue(SqsError):
    """There is no such queue."""

    kind = "QueueDoesNotExist"
    code = "AWS.SimpleQueueService.NonExistentQueue"


class NameExists(SqsError):
    """There is such a queue, with other attributes."""

    kind = "QueueNameExists"
    code = "QueueAlreadyExists"


class InvalidHandle(SqsError):
    """The receipt handle is none of ours."""

    kind = "ReceiptHandleIsInvalid"


class NotInflight(_Prefixed):
    """The message is not leased."""

    kind = "MessageNotInflight"


class OverLimit(SqsError):
    """Too many messages are leased."""

    kind = "OverLimit"


class InvalidContents(SqsError):
    """The message cannot be."""

    kind = "InvalidMessageContents"


class InvalidAttribute(SqsError):
    """There is no attribute of that name."""

    kind = "InvalidAttributeName"


class InvalidAttributeValue(SqsError):
    """An attribute has a value that cannot be."""

    kind = "InvalidAttributeValue"


class EmptyBatch(_Prefixed):
    """A batch without entries."""

    kind = "EmptyBatchRequest"


class TooManyEntries(_Prefixed):
    """A batch with more than ten entries."""

    kind = "TooManyEntriesInBatchRequest"


class NotDistinct(_Prefixed):
    """Two entries of a batch with one id."""

    kind = "BatchEntryIdsNotDistinct"


class InvalidEntryId(_Prefixed):
    """An entry's id cannot be."""

    kind = "InvalidBatchEntryId"


class Unsupported(_Prefixed):
    """We do not do that."""

    kind = "UnsupportedOperation"


class NotFound(SqsError):
    """There is nothing of that name to move messages from or to."""

    kind = "ResourceNotFoundException"
