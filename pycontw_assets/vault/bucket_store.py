"""The vault's objects in a Cloud Storage bucket.

A write names the generation it replaces (``if_generation_match``), so Cloud Storage itself refuses one of two writers
and no lock is needed. fsspec's gcsfs knows "only if nothing is there" but not "only over this generation". Hence
Google's own client, which ``dagster-gcp`` brings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pycontw_assets.records import Leftovers
from pycontw_assets.settings import set_for_library
from pycontw_assets.vault.object_store import SUFFIX, Stored, VaultError

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Bucket, Client  # type: ignore[import-untyped]

_URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<prefix>[^?#]*))?")
_TIMEOUTS = (10.0, 60.0)  # seconds to connect, and between two bytes
_MISSING, _REFUSED, _FORBIDDEN = 404, 401, 403
_DAY = 86_400  # seconds
_NO_METADATA = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"  # for traces, which nobody makes here


def _login() -> Client:
    from google.cloud.storage import Client

    return Client()


_KEPT = "vault: Cloud Storage keeps replaced objects, which still decrypt, "
_UNKNOWN_LEFTOVERS = Leftovers(
    _KEPT + "as long as the bucket's soft delete, versioning and lifecycle rules say. The account may not read them",
    todo="see how long the bucket keeps replaced objects (docs/privacy.md)",
    is_known=False,
)
_ENDLESS_LEFTOVERS = Leftovers(
    _KEPT + "for ever: it has object versioning, and no lifecycle rule that deletes old versions by their age",
    todo="delete the bucket's old versions of the vault, and give it a lifecycle rule (docs/privacy.md)",
)


def _leftovers(days: int) -> Leftovers:
    return Leftovers(
        f"{_KEPT}for {days} days: the bucket's soft delete, versioning and lifecycle rules say so",
        goes=f"the bucket drops the replaced orders after {days} days",
    )


def _days_of_old_versions(rule: Mapping[str, Any]) -> int | None:
    """Return after how many days a lifecycle rule deletes every old version; ``None``: it is no such rule."""
    condition = {name: value for name, value in rule.get("condition", {}).items() if value is not None}
    days: int | None = condition.pop("daysSinceNoncurrentTime", None)
    is_of_all = not condition.pop("isLive", False) and not condition
    return days if is_of_all and rule.get("action", {}).get("type") == "Delete" else None


class BucketStore:
    """An ``ObjectStore`` under ``gs://bucket/prefix``. A version is the object's generation.

    ``login`` makes the client when it is first needed. ``patience_seconds`` bounds the retries of one call.
    """

    def __init__(self, url: str, *, login: Callable[[], Client] = _login, patience_seconds: float = 60.0) -> None:
        match = _URL.fullmatch(url)
        if not match:
            raise VaultError("VAULT_URL: needs the form gs://bucket or gs://bucket/folder")
        self._bucket_name = match["bucket"]
        self._prefix = f"{prefix}/" if (prefix := (match["prefix"] or "").strip("/")) else ""
        self._login = login
        self._patience_seconds = patience_seconds

    def read(self, name: str) -> Stored | None:
        from google.api_core.exceptions import NotFound

        with self._explained(f"{name} could not be read"):
            blob = self._bucket.blob(self._prefix + name)
            try:
                content = blob.download_as_bytes(timeout=_TIMEOUTS, retry=self._retry)
            except NotFound:
                # A missing bucket answers the same. This call raises then.
                self._list(name)
                return None
            return Stored(content, str(blob.generation))

    def write(self, name: str, content: bytes, expected: str | None) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        with self._explained(f"{name} could not be written"):
            try:
                self._bucket.blob(self._prefix + name).upload_from_string(
                    content,
                    "application/octet-stream",
                    if_generation_match=int(expected or 0),
                    timeout=_TIMEOUTS,
                    retry=self._retry,
                )
            except PreconditionFailed:
                # When the answer to a write is lost, the second try meets the result of the first.
                current = self.read(name)
                return current is not None and current.content == content
            return True

    def names(self) -> list[str]:
        with self._explained("the bucket could not be listed"):
            return [name.removeprefix(self._prefix) for name in self._list("") if name.endswith(SUFFIX)]

    def leftovers(self) -> Leftovers | None:
        from google.api_core.exceptions import Forbidden

        try:
            with self._explained("the bucket's settings could not be read"):
                try:
                    bucket = self._client.get_bucket(self._bucket_name, timeout=_TIMEOUTS, retry=self._retry)
                except Forbidden:
                    return _UNKNOWN_LEFTOVERS
        except VaultError:
            return _UNKNOWN_LEFTOVERS
        days = math.ceil((bucket.soft_delete_policy.retention_duration_seconds or 0) / _DAY)
        if not bucket.versioning_enabled:
            return _leftovers(days) if days else None
        until = [_days_of_old_versions(rule) for rule in bucket.lifecycle_rules]
        kept = min((age for age in until if age is not None), default=None)
        return _ENDLESS_LEFTOVERS if kept is None else _leftovers(kept + days)

    def _list(self, name: str) -> list[str]:
        blobs = self._bucket.list_blobs(prefix=self._prefix + name, delimiter="/", timeout=_TIMEOUTS, retry=self._retry)
        return [str(blob.name) for blob in blobs]

    @cached_property
    def _client(self) -> Client:
        # Otherwise it asks for the bucket's metadata in the background, which the account may not read.
        set_for_library(_NO_METADATA, "true")
        return self._login()

    @cached_property
    def _bucket(self) -> Bucket:
        return self._client.bucket(self._bucket_name)

    @cached_property
    def _retry(self) -> Retry:
        from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

        retry: Retry = DEFAULT_RETRY.with_timeout(self._patience_seconds)
        return retry

    @contextmanager
    def _explained(self, problem: str) -> Iterator[None]:
        """Replace Google's errors. Their texts quote the addresses of accounts."""
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # type: ignore[import-untyped]
        from requests.exceptions import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except DataCorruption:
            raise VaultError(
                f"vault: {problem}: what Cloud Storage sent does not fit its own checksum; later polls try again. If "
                "it stays so, restore an older version of the object"
            ) from None
        except GoogleAuthError:
            raise VaultError(
                f"vault: {problem}: no valid Google credentials for VAULT_URL; set GOOGLE_APPLICATION_CREDENTIALS, "
                "or run where a service account is attached"
            ) from None
        except (GoogleAPIError, InvalidResponse, HTTPError, RequestException, OSError) as error:
            raise VaultError(f"vault: {problem}: {self._reason(getattr(error, 'code', None))}") from None

    def _reason(self, status: int | None) -> str:
        if status == _MISSING:
            return f"VAULT_URL: there is no bucket {self._bucket_name}; make it, or correct the name"
        if status in (_REFUSED, _FORBIDDEN):
            return (
                f"VAULT_URL: the account may not use bucket {self._bucket_name}; give it the role "
                "Storage Object User (roles/storage.objectUser) there"
            )
        return f"Cloud Storage did not answer as it should ({status or 'no answer'}); later polls try again"
