"""The vault in a bucket, against an emulator: two writers lose nothing, and a problem is no empty vault."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote

import google_crc32c
import pytest
from cryptography.fernet import Fernet

from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot
from pycontw_assets.vault.bucket_store import BucketStore
from pycontw_assets.vault.object_store import VaultError
from pycontw_assets.vault.vault import Rotation, Vault
from pycontw_assets_tests import gcs
from pycontw_assets_tests.bigquery import forward
from pycontw_assets_tests.clients.scripted_server import Answer, Received, ScriptedServer
from pycontw_assets_tests.unit.conftest import PARTITION

KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
BUCKET = "vault-of-tests"
NOW = datetime(2031, 6, 1, tzinfo=timezone.utc)
Open = Callable[..., Vault]


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with gcs.emulator() as url:
        gcs.make_bucket(url, BUCKET)
        yield url


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return f"gs://{BUCKET}/{request.node.name.replace('[', '-').rstrip(']')}"


@pytest.fixture
def vault(emulator: str, url: str, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setenv(gcs.HOST_VARIABLE, emulator)

    def open_vault(*keys: str, url: str = url) -> Vault:
        return Vault(BucketStore(url, patience_seconds=1), keys or [KEY])

    return open_vault


def snapshot(*ids: int, **fields: Any) -> OrderSnapshot:
    records = {
        i: AttendeeRecord(Attendee(attendee_id=i, is_paid=True, state="activated", answers=()), NOW) for i in ids
    }
    return OrderSnapshot(PARTITION, records, **fields)


def test_a_snapshot_comes_back_as_it_was(vault: Open) -> None:
    assert vault().read(PARTITION.key) is None
    stored = vault().write(snapshot(1, 2))
    assert vault().read(PARTITION.key) == stored


def test_of_two_writers_of_one_generation_the_second_is_refused(vault: Open) -> None:
    base = vault().write(snapshot(1))
    vault().write(replace(base, rotated_at=NOW))
    for late in (base, snapshot(2)):
        with pytest.raises(VaultError, match="another writer"):
            vault().write(late)


def test_of_many_writers_at_once_one_wins_and_nothing_is_lost(vault: Open) -> None:
    base = vault().write(snapshot())
    barrier, outcomes = threading.Barrier(6), []

    def write(number: int) -> None:
        own = vault()
        own.read(PARTITION.key)
        barrier.wait()
        try:
            outcomes.append(own.write(replace(snapshot(number), generation=base.generation)))
        except VaultError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if outcome]
    assert vault().read(PARTITION.key) == winner


def test_a_write_with_a_lost_answer_is_recognised(emulator: str, url: str, vault: Open) -> None:
    """The second try is refused, because the first one succeeded."""
    store = BucketStore(url)
    assert store.write("a.orders", b"new", None)
    assert store.write("a.orders", b"new", None)
    assert not store.write("a.orders", b"other", None)


def test_a_rotation_leaves_other_vaults_alone(vault: Open, url: str) -> None:
    vault().write(snapshot(1))
    neighbour = vault(url=f"{url}/deeper")
    neighbour.write(snapshot(2))
    assert vault(NEW_KEY, KEY).rotate() == Rotation(reencrypted=1, current=0, unreadable=())
    assert vault(NEW_KEY, KEY).rotate() == Rotation(reencrypted=0, current=1, unreadable=())
    assert vault(NEW_KEY).read(PARTITION.key) is not None
    assert neighbour.read(PARTITION.key) is not None


def test_a_bucket_that_is_not_there_is_an_error_and_no_empty_vault(vault: Open) -> None:
    missing = vault(url="gs://no-such-bucket")
    for action in (lambda: missing.read(PARTITION.key), lambda: missing.write(snapshot(1)), missing.rotate):
        with pytest.raises(VaultError, match="VAULT_URL: there is no bucket no-such-bucket"):
            action()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, r"VAULT_URL: the account may not use bucket vault-of-tests; give it the role"),
        (401, r"GOOGLE_APPLICATION_CREDENTIALS"),
        (503, r"later polls try again"),
        (500, r"later polls try again"),
    ],
)
def test_a_refusal_says_how_to_fix_it_and_quotes_nothing(
    status: int, said: str, vault: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "robot@project.example.com does not have storage.objects.get access"
    with ScriptedServer() as server:
        refusal = Answer(status, {"error": {"code": status, "message": message}})
        server.behave(lambda request: refusal)
        monkeypatch.setenv(gcs.HOST_VARIABLE, server.url)
        for action in (lambda: vault().read(PARTITION.key), lambda: vault().write(snapshot(1))):
            with pytest.raises(VaultError, match=said) as caught:
                action()
            assert "robot" not in str(caught.value)
            assert caught.value.__suppress_context__


DOWNLOAD = f"/download/storage/v1/b/{BUCKET}/o/"
UPLOAD = f"/upload/storage/v1/b/{BUCKET}/o"
METADATA = f"/storage/v1/b/{BUCKET}"


def test_content_that_does_not_fit_its_checksum_is_an_error_in_words(
    vault: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client raises an error of its own kind for it, and quotes the address of the object."""
    with ScriptedServer() as server:
        wrong = {"x-goog-hash": "crc32c=AAAAAA==", "x-goog-generation": "1"}
        server.behave(lambda request: Answer(200, b"other bytes than the checksum's", wrong))
        monkeypatch.setenv(gcs.HOST_VARIABLE, server.url)
        for action in (lambda: vault().read(PARTITION.key), lambda: vault().write(snapshot(1))):
            with pytest.raises(VaultError, match=r"does not fit its own checksum; later polls try again") as caught:
                action()
            assert server.url not in str(caught.value)
            assert caught.value.__suppress_context__


def test_the_account_needs_no_right_to_read_the_bucket_itself(
    emulator: str, vault: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role in docs/production.md is about objects. The client would ask for the bucket in the background."""
    monkeypatch.delenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", raising=False)
    with ScriptedServer() as server:
        server.behave(lambda request: forward(request, emulator))
        monkeypatch.setenv(gcs.HOST_VARIABLE, server.url)
        vault().write(snapshot(1))
        assert vault().read(PARTITION.key) is not None
        for thread in threading.enumerate():
            if "_fetch_background" in thread.name:
                thread.join(10)
        asked = [request.path for request in server.received]
        assert len(asked) >= 3
        assert METADATA not in asked


# -- uploads above 8 MiB, which the emulator takes whatever their preconditions say ---------------------


class Bucket:
    """One bucket that honours ``ifGenerationMatch`` for every kind of upload: when it begins, and when it ends."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.uploads: dict[str, tuple[str, int, bytearray]] = {}
        self.before_the_end: Callable[[], object] = lambda: None

    def __call__(self, request: Received) -> Answer:
        if request.path == UPLOAD and request.query["uploadType"] == "resumable" and request.method == "POST":
            return self._begin(request)
        if request.path == UPLOAD and request.method == "PUT":
            return self._go_on(request)
        if request.path.startswith(DOWNLOAD):
            return self._download(unquote(request.path.removeprefix(DOWNLOAD)))
        return Answer(body={"items": []})

    def _generation(self, name: str) -> int:
        return self.objects.get(name, (0, b""))[0]

    def _begin(self, request: Received) -> Answer:
        name, expected = request.json["name"], int(request.query["ifGenerationMatch"])
        if self._generation(name) != expected:
            return PRECONDITION_FAILED
        number = str(len(self.uploads) + 1)
        self.uploads[number] = (name, expected, bytearray())
        location = f"http://{request.headers['host']}{UPLOAD}?uploadType=resumable&upload_id={number}"
        return Answer(200, b"", {"Location": location})

    def _go_on(self, request: Received) -> Answer:
        name, expected, content = self.uploads[request.query["upload_id"]]
        content += request.body
        total = request.headers["content-range"].rpartition("/")[2]
        if total == "*" or len(content) < int(total):
            return Answer(308, b"", {"Range": f"bytes=0-{len(content) - 1}"})
        self.before_the_end()
        if self._generation(name) != expected:
            return PRECONDITION_FAILED
        self.objects[name] = (expected + 1, bytes(content))
        checksum = base64.b64encode(google_crc32c.Checksum(bytes(content)).digest()).decode()
        return Answer(body={"name": name, "generation": str(expected + 1), "crc32c": checksum})

    def _download(self, name: str) -> Answer:
        if name not in self.objects:
            return Answer(404, {"error": {"code": 404, "message": "none"}})
        generation, content = self.objects[name]
        return Answer(200, content, {"x-goog-generation": str(generation)})


PRECONDITION_FAILED = Answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
LARGE, OTHER = (bytes([letter]) * (9 << 20) for letter in b"ab")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with ScriptedServer() as server:
        bucket = Bucket()
        server.behave(bucket)
        monkeypatch.setenv(gcs.HOST_VARIABLE, server.url)
        yield bucket


def test_a_large_object_is_written_only_over_the_version_that_was_read(bucket: Bucket) -> None:
    store = BucketStore(f"gs://{BUCKET}", patience_seconds=5)
    assert store.write("a.orders", LARGE, None)
    read = store.read("a.orders")
    assert read is not None
    assert read.content == LARGE
    assert store.write("a.orders", OTHER, read.version)
    assert not store.write("a.orders", LARGE, read.version)
    assert not store.write("a.orders", LARGE, None)
    assert bucket.objects["a.orders"][1] == OTHER


def test_of_two_large_uploads_at_once_the_one_that_ends_later_is_refused(bucket: Bucket) -> None:
    """Both began when there was no object."""
    one, other = (BucketStore(f"gs://{BUCKET}", patience_seconds=5) for _ in range(2))

    finished = []

    def finish_the_other() -> None:
        bucket.before_the_end = lambda: None
        finished.append(other.write("a.orders", OTHER, None))

    bucket.before_the_end = finish_the_other
    assert not one.write("a.orders", LARGE, None)
    assert finished == [True]
    assert bucket.objects["a.orders"] == (1, OTHER)


def test_a_large_write_with_a_lost_answer_is_recognised(bucket: Bucket) -> None:
    """The object is there already when the upload begins again."""
    bucket.objects["a.orders"] = (1, LARGE)
    assert BucketStore(f"gs://{BUCKET}", patience_seconds=5).write("a.orders", LARGE, None)


# -- what the bucket keeps of replaced orders -----------------------------------------------------------


VERSIONED = {"versioning": {"enabled": True}}
COLDER = {"type": "SetStorageClass", "storageClass": "COLDLINE"}


def rule(action: str, **condition: Any) -> dict[str, Any]:
    return {"action": {"type": action}, "condition": condition}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, None),
        ({"softDeletePolicy": {"retentionDurationSeconds": "604800"}}, "for 7 days"),
        (VERSIONED, "for ever"),
        (
            {"versioning": {"enabled": True}, "lifecycle": {"rule": [rule("Delete", daysSinceNoncurrentTime=3)]}},
            "3 days",
        ),
        (
            {
                **VERSIONED,
                "softDeletePolicy": {"retentionDurationSeconds": "604800"},
                "lifecycle": {"rule": [rule("Delete", daysSinceNoncurrentTime=3, isLive=False)]},
            },
            "for 10 days",
        ),
        (
            {
                **VERSIONED,
                "lifecycle": {
                    "rule": [
                        rule("Delete", daysSinceNoncurrentTime=3, matchesPrefix=["elsewhere/"]),
                        {**rule("Delete", daysSinceNoncurrentTime=1), "action": COLDER},
                        rule("Delete", numNewerVersions=2),
                    ]
                },
            },
            "for ever",
        ),
        (None, "The account may not read them"),
    ],
)
def test_what_the_bucket_keeps_of_replaced_orders_is_told(
    settings: dict[str, Any] | None, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as server:
        refusal = Answer(403, {"error": {"code": 403, "message": "does not have storage.buckets.get access"}})
        server.behave(lambda request: refusal if settings is None else Answer(body={"name": BUCKET, **settings}))
        monkeypatch.setenv(gcs.HOST_VARIABLE, server.url)
        kept = BucketStore(f"gs://{BUCKET}", patience_seconds=1).leftovers()
        assert [request.path for request in server.received] == [METADATA]
    assert (kept is None) == (said is None)
    if kept is not None:
        assert str(said) in kept.line
        assert bool(kept.goes) != bool(kept.todo)


def test_a_service_that_cannot_be_reached_is_an_error(vault: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gcs.HOST_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(VaultError, match="no answer"):
        vault().read(PARTITION.key)


def test_without_credentials_the_variable_is_named(vault: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(gcs.HOST_VARIABLE)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(VaultError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        vault().read(PARTITION.key)


@pytest.mark.parametrize("wrong", ["gs://", "gs:///x", "s3://bucket", "gs://Upper", "gs://a b", "/folder"])
def test_an_url_of_another_form_is_refused(wrong: str) -> None:
    with pytest.raises(VaultError, match="VAULT_URL"):
        BucketStore(wrong)
