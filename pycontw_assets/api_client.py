"""HTTP manners for all three services: time-outs, bounded retry by named kinds, safe error texts.

Every error that leaves here is safe to log: it names the service, the operation and the status, never a
query string, a body, an address or a key. Nothing of ``requests`` escapes (its texts quote full URLs).
"""

from __future__ import annotations


class ServiceError(Exception):
    """A call that did not succeed. ``str()`` is safe for logs, metadata and people."""

    def __init__(self, service: str, operation: str, reason: str, status: int | None = None) -> None:
        self.service = service
        self.operation = operation
        self.reason = reason
        self.status = status
        super().__init__(f"{service}: {operation}: {reason}")


class Unavailable(ServiceError):
    """Passing trouble (5xx, 429 beyond patience, time-out, reset): try again later.

    ``outcome_unknown`` is true when the server may have acted on a write all the same.
    """

    def __init__(
        self, service: str, operation: str, reason: str, status: int | None = None, *, outcome_unknown: bool = False
    ) -> None:
        super().__init__(service, operation, reason, status)
        self.outcome_unknown = outcome_unknown


class Malformed(ServiceError):
    """A success status with a body that is not what the contract says (HTML, truncated, wrong shape)."""


class Refused(ServiceError):
    """The service understood and said no (a 4xx about this request); repeating it changes nothing.

    ``pointers`` are the JSON pointers of what it objected to, where it gave any.
    """

    def __init__(
        self, service: str, operation: str, reason: str, status: int | None = None, *, pointers: tuple[str, ...] = ()
    ) -> None:
        super().__init__(service, operation, reason, status)
        self.pointers = pointers


class NotFound(Refused):
    """404 or 410: no such thing, or no longer."""


class TooLarge(Refused):
    """413: the body is too big; halve it."""


class Misconfigured(ServiceError):
    """Credentials, rights or URL are wrong (401, 403, a sign-in page): stop at once and tell a person."""
