"""The vault in a bucket, against an emulator: two writers lose nothing, and a problem is no empty vault."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography.fernet import Fernet

from pycontw_assets.records import Attendee, AttendeeRecord, OrderSnapshot
from pycontw_assets.vault.bucket_store import BucketStore
from pycontw_assets.vault.object_store import VaultError
from pycontw_assets.vault.vault import Rotation, Vault
from pycontw_assets_tests import gcs
from pycontw_assets_tests.clients.scripted_server import Answer, ScriptedServer
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
