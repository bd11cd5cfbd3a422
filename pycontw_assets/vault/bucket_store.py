"""The vault's objects in a Cloud Storage bucket.

A write names the generation it replaces (``if_generation_match``), so Cloud Storage itself refuses one of two writers
and no lock is needed. fsspec's gcsfs knows "only if nothing is there" but not "only over this generation". Hence
Google's own client, which ``dagster-gcp`` brings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from pycontw_assets.vault.object_store import SUFFIX, Stored, VaultError

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.storage import Bucket, Client  # type: ignore[import-untyped]

_URL = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<prefix>[^?#]*))?")
_TIMEOUTS = (10.0, 60.0)  # seconds to connect, and between two bytes
_MISSING, _REFUSED, _FORBIDDEN = 404, 401, 403


def _login() -> Client:
    from google.cloud.storage import Client

    return Client()


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

    def _list(self, name: str) -> list[str]:
        blobs = self._bucket.list_blobs(prefix=self._prefix + name, delimiter="/", timeout=_TIMEOUTS, retry=self._retry)
        return [str(blob.name) for blob in blobs]

    @cached_property
    def _bucket(self) -> Bucket:
        return self._login().bucket(self._bucket_name)

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
        from requests.exceptions import RequestException

        try:
            yield
        except GoogleAuthError:
            raise VaultError(
                f"vault: {problem}: no valid Google credentials for VAULT_URL; set GOOGLE_APPLICATION_CREDENTIALS, "
                "or run where a service account is attached"
            ) from None
        except (GoogleAPIError, RequestException, OSError) as error:
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
