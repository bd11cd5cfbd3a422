"""The vault is encrypted and atomic, and an unreadable object is never an empty one."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.exits import FINE, MISCONFIGURED
from pycontw_assets.records import Attendee, AttendeeRecord, EventPartition, OrderSnapshot, Quarantined
from pycontw_assets.vault.folder_store import FolderStore
from pycontw_assets.vault.layout import _PIECE, _lines, _record_to_json, pack
from pycontw_assets.vault.object_store import VaultError
from pycontw_assets.vault.vault import Rotation, Vault
from pycontw_assets_tests.fakes.store import MemoryStore
from pycontw_assets_tests.unit.conftest import PARTITION

KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
NOW = datetime(2031, 6, 1, 2, 0, 0, 123456, tzinfo=timezone.utc)
ADDRESS = "buyer-one@example.org"


def snapshot(*ids: int, **fields: Any) -> OrderSnapshot:
    answers = (("聯絡人 Email", ADDRESS),)
    attendees = [Attendee(attendee_id=i, is_paid=True, state="activated", answers=answers) for i in ids]
    records = {attendee.attendee_id: AttendeeRecord(attendee, NOW) for attendee in attendees}
    return OrderSnapshot(PARTITION, records, **fields)


def vault(folder: Path, keys: Sequence[str] = (KEY,)) -> Vault:
    return Vault(FolderStore(folder / "vault"), keys)


def lines_of(store: MemoryStore) -> list[bytes]:
    return zlib.decompress(Fernet(KEY).decrypt(store.objects[f"{PARTITION.key}.orders"])).splitlines()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(timezones=st.just(timezone.utc))
attendee_records = st.builds(
    AttendeeRecord,
    attendee=st.builds(
        Attendee,
        attendee_id=st.integers(1, 99),
        is_paid=st.none() | st.booleans(),
        state=st.none() | st.text(),
        answers=st.lists(st.tuples(st.text(), json_values), max_size=3).map(tuple),
        ticket_name=st.none() | st.text(),
        price=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        order_no=st.none() | st.integers(),
        updated_at=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    first_seen_at=moments,
    gone_at=st.none() | moments,
    listed_after=st.none() | moments,
    paid_seen_at=st.none() | moments,
    paid_seen_after=st.none() | moments,
    read_at=st.none() | moments,
    changed_at=st.none() | moments,
    missing_polls=st.integers(0, 3),
)


@given(
    st.lists(attendee_records, max_size=3),
    st.dictionaries(st.integers(), st.builds(Quarantined, st.text(), moments, st.integers()), max_size=2),
    st.none() | moments,
    st.booleans(),
)
def test_a_snapshot_comes_back_as_it_was(
    records: list[AttendeeRecord], quarantine: Any, rotated_at: Any, rebuilding: bool
) -> None:
    by_id = {record.attendee.attendee_id: record for record in records}
    store = MemoryStore()
    written = Vault(store, [KEY]).write(OrderSnapshot(PARTITION, by_id, quarantine, rotated_at, 0, rebuilding))
    assert Vault(store, [KEY]).read(PARTITION.key) == written
    assert written.generation == 1


def test_an_object_is_not_opened_twice_until_it_changes(tmp_path: Path) -> None:
    one, other = vault(tmp_path), vault(tmp_path)
    written = one.write(snapshot(1))
    assert one.read(PARTITION.key) is written
    opened = other.read(PARTITION.key)
    assert opened == written
    assert other.read(PARTITION.key) is opened
    newer = other.write(replace(written, records=snapshot(1, 2).records))
    assert one.read(PARTITION.key) == newer


@pytest.mark.parametrize("is_open", [False, True])
def test_records_one_by_one_are_those_of_the_snapshot(tmp_path: Path, is_open: bool) -> None:
    written = vault(tmp_path).write(snapshot(1, 2, rebuilding=True))
    reader = vault(tmp_path)
    if is_open:
        reader.read(PARTITION.key)
    event, records = reader.stream(PARTITION.key) or (None, ())
    assert list(records) == list(written.records.values())
    assert event is not None
    assert (event.partition, event.rebuilding, event.generation) == (PARTITION, True, 1)
    assert reader.stream("2031-individual-1") is None


def test_a_record_of_another_shape_ends_the_stream() -> None:
    store = MemoryStore()
    Vault(store, [KEY]).write(snapshot(1))
    [name] = store.objects
    lines = zlib.decompress(Fernet(KEY).decrypt(store.objects[name])) + b'{"attendee": {}}\n'
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(lines))
    _, records = Vault(store, [KEY]).stream(PARTITION.key) or (None, iter(()))
    next(records)
    with pytest.raises(VaultError, match=PARTITION.key):
        next(records)


def test_an_object_that_never_was_is_none(tmp_path: Path) -> None:
    assert vault(tmp_path).read(PARTITION.key) is None


def test_nothing_on_disk_shows_a_person_and_only_the_owner_may_read(tmp_path: Path) -> None:
    vault(tmp_path).write(snapshot(1))
    for path in (tmp_path / "vault").iterdir():
        assert ADDRESS.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
        lambda content: b"<html>",
    ],
)
def test_a_damaged_object_is_an_error_and_never_an_empty_snapshot(tmp_path: Path, damage: Any) -> None:
    vault(tmp_path).write(snapshot(1))
    path = tmp_path / "vault" / f"{PARTITION.key}.orders"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VaultError) as caught:
        vault(tmp_path).read(PARTITION.key)
    assert PARTITION.key in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(VaultError):
        vault(tmp_path).write(snapshot(1))


DAMAGED = r"is damaged, which no VAULT_KEY mends; put an older version of it back from a backup, or move it away"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-7], DAMAGED),
        (lambda content: content[: len(content) // 3], DAMAGED),
        (lambda content: b"", DAMAGED),
        (lambda content: b"<html>", DAMAGED),
        (lambda content: bytes([0]) * 100, DAMAGED),
        (lambda content: Fernet(KEY).encrypt(b"something else"), DAMAGED),
        (lambda content: Fernet(KEY).encrypt(zlib.compress(b"[]")), DAMAGED),
        (lambda content: Fernet(NEW_KEY).encrypt(b"x"), r"cannot be decrypted; put the key .* VAULT_KEY"),
        (lambda content: content[:60] + (b"B" if content[60:61] == b"A" else b"A") + content[61:], r"If it is there"),
        (
            lambda content: Fernet(KEY).encrypt(zlib.compress(b'{"version": 3}')),
            r"newer version .*format 3.* up to 2",
        ),
    ],
)
def test_damage_a_missing_key_and_a_newer_version_have_words_of_their_own(change: Any, said: str) -> None:
    store = MemoryStore()
    Vault(store, [KEY]).write(snapshot(1))
    [name] = store.objects
    store.objects[name] = change(store.objects[name])
    with pytest.raises(VaultError, match=said):
        Vault(store, [KEY]).read(PARTITION.key)


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b"{", b"null", b'{"version": 2}', b'{"records": []}'])
def test_a_document_of_another_shape_is_an_error_with_a_text(tmp_path: Path, document: bytes) -> None:
    """Another release wrote it. ``KeyError: 'rebuilding'`` helps nobody."""
    store = MemoryStore()
    store.objects[f"{PARTITION.key}.orders"] = Fernet(KEY).encrypt(zlib.compress(document))
    with pytest.raises(VaultError, match=PARTITION.key):
        Vault(store, [KEY]).read(PARTITION.key)


def test_documents_of_the_first_release_are_read(tmp_path: Path) -> None:
    """It wrote one document per event, with the attendees in it."""
    store = MemoryStore()
    written = Vault(store, [KEY]).write(snapshot(1, 2))
    name = f"{PARTITION.key}.orders"
    event, *records = map(json.loads, zlib.decompress(Fernet(KEY).decrypt(store.objects[name])).splitlines())
    old = json.dumps(event | {"version": 1, "records": records})
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(old.encode()))
    assert Vault(store, [KEY]).read(PARTITION.key) == written


def test_documents_of_the_first_release_are_written_like_all_others(tmp_path: Path) -> None:
    """Its only line holds all attendees, so none of them has a line that could be copied."""
    store, name = MemoryStore(), f"{PARTITION.key}.orders"
    written = Vault(store, [KEY]).write(snapshot(1))
    event, record = lines_of(store)
    old = json.dumps(json.loads(event) | {"version": 1, "records": [json.loads(record)]}) + "\n\n"
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(old.encode()))
    reader = Vault(store, [KEY])
    reader.write(replace(reader.read(PARTITION.key) or written, records=written.records))
    assert lines_of(store)[1:] == [record]


@given(st.lists(st.sampled_from(["keep", "change", "drop"]), min_size=1, max_size=5), st.randoms(), st.booleans())
def test_a_written_snapshot_does_not_depend_on_what_was_there(
    changes: list[str], random: Any, is_shuffled: bool
) -> None:
    before = snapshot(*range(len(changes)))
    kept = [record for record, change in zip(before.records.values(), changes, strict=True) if change != "drop"]
    changed = {i for i, change in enumerate(changes) if change == "change"}
    after = [replace(r, gone_at=NOW) if r.attendee.attendee_id in changed else r for r in kept]
    after += snapshot(90, 91).records.values()
    if is_shuffled:
        random.shuffle(after)
    newer = replace(before, records={record.attendee.attendee_id: record for record in after}, generation=7)
    assert zlib.decompress(pack(newer, before, pack(before))) == zlib.decompress(pack(newer))


def test_of_an_unchanged_record_the_stored_line_is_kept() -> None:
    """To write all records of a large event as JSON takes longer than all else that a poll with few newcomers does."""
    store, name = MemoryStore(), f"{PARTITION.key}.orders"
    Vault(store, [KEY]).write(snapshot(1, 2))
    event, first, second = lines_of(store)
    first = first.replace(b'"missing_polls"', b'"a member of another release":1,"missing_polls"')
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(b"\n".join([event, first, second, b""])))
    vault = Vault(store, [KEY])
    opened = vault.read(PARTITION.key)
    assert opened is not None
    newer = replace(opened.records[2], missing_polls=1)
    vault.write(replace(opened, records={**opened.records, 2: newer, 3: snapshot(3).records[3]}))
    assert lines_of(store)[1] == first
    assert vault.read(PARTITION.key) == Vault(store, [KEY]).read(PARTITION.key)


def test_two_lines_of_one_attendee_are_never_copied_to_another() -> None:
    store, name = MemoryStore(), f"{PARTITION.key}.orders"
    Vault(store, [KEY]).write(snapshot(1, 2))
    event, first, second = lines_of(store)
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(b"\n".join([event, first, first, second, b""])))
    vault = Vault(store, [KEY])
    opened = vault.read(PARTITION.key)
    assert opened is not None
    vault.write(opened)
    assert lines_of(store)[1:] == [first, second]


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_lines_longer_and_shorter_than_a_piece_come_back_whole(ending: bytes) -> None:
    lines = [b"", b"x" * (_PIECE - 2), b"", b"y", b"z" * (2 * _PIECE), b"e"]
    assert list(_lines(zlib.compress(b"\n".join(lines) + ending))) == lines
    assert list(_lines(zlib.compress(b""))) == []


@pytest.mark.parametrize("kept", [0, 1, 60, -1])
def test_orders_without_their_end_are_damaged(kept: int) -> None:
    """However they came to be so: the records before the end are no event."""
    store = MemoryStore()
    Vault(store, [KEY]).write(snapshot(*range(99)))
    packed = Fernet(KEY).decrypt(store.objects[f"{PARTITION.key}.orders"])
    store.objects[f"{PARTITION.key}.orders"] = Fernet(KEY).encrypt(packed[:kept])
    with pytest.raises(VaultError, match="damaged"):
        Vault(store, [KEY]).read(PARTITION.key)
    with pytest.raises(VaultError, match="damaged"):
        list((Vault(store, [KEY]).stream(PARTITION.key) or (None, ()))[1])


def test_an_object_that_belongs_to_another_partition_is_refused(tmp_path: Path) -> None:
    """Under the wrong name it would let buyers in with another event's tickets."""
    store = MemoryStore()
    Vault(store, [KEY]).write(snapshot(1))
    store.objects["2031-corporate-90002.orders"] = store.objects[f"{PARTITION.key}.orders"]
    with pytest.raises(VaultError):
        Vault(store, [KEY]).read("2031-corporate-90002")


def test_an_unreadable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "vault").write_text("a file where the folder should be")
    with pytest.raises(VaultError):
        vault(tmp_path).read(PARTITION.key)
    with pytest.raises(VaultError):
        vault(tmp_path).write(snapshot(1))


def test_a_new_key_first_encrypts_and_the_old_one_still_decrypts(tmp_path: Path) -> None:
    vault(tmp_path, [KEY]).write(snapshot(1))
    stored = vault(tmp_path, [NEW_KEY, KEY]).read(PARTITION.key)
    assert stored is not None
    vault(tmp_path, [NEW_KEY, KEY]).write(stored)
    assert vault(tmp_path, [NEW_KEY]).read(PARTITION.key) is not None
    with pytest.raises(VaultError, match="VAULT_KEY"):
        vault(tmp_path, [KEY]).read(PARTITION.key)


@pytest.mark.parametrize("keys", [[], ["not a key"], [KEY, "x"], ["鑰匙"]])
def test_a_malformed_key_is_reported_without_quoting_it(tmp_path: Path, keys: list[str]) -> None:
    with pytest.raises(VaultError, match="VAULT_KEY") as caught:
        vault(tmp_path, keys).write(snapshot(1))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_of_two_writers_of_one_generation_the_second_is_refused(tmp_path: Path) -> None:
    first, second = vault(tmp_path), vault(tmp_path)
    base = first.write(snapshot(1))
    first.write(replace(base, rotated_at=NOW))
    with pytest.raises(VaultError, match="another writer"):
        second.write(base)
    with pytest.raises(VaultError, match="another writer"):
        second.write(snapshot(2))


def test_of_many_writers_at_once_one_wins_and_nothing_is_lost(tmp_path: Path) -> None:
    base = vault(tmp_path).write(snapshot())
    barrier, outcomes = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        try:
            outcomes.append(vault(tmp_path).write(replace(snapshot(number), generation=base.generation)))
        except VaultError:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [outcome for outcome in outcomes if outcome]
    assert vault(tmp_path).read(PARTITION.key) == winner


def test_a_write_that_dies_leaves_the_old_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = vault(tmp_path).write(snapshot(1))

    def dies(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(VaultError, match="No space left"):
        vault(tmp_path).write(stored)
    monkeypatch.undo()
    assert vault(tmp_path).read(PARTITION.key) == stored
    assert vault(tmp_path).write(replace(stored, rotated_at=NOW + timedelta(1))).generation == 2


@pytest.mark.parametrize("key", ["../x", "a/b", "", "2031 x", "X", "2031-individual-90001\n", ".orders", "票"])
def test_a_key_that_is_no_slug_never_reaches_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(VaultError):
        vault(tmp_path).read(key)
    partition = EventPartition(1, key, "individual")
    if key not in ("",):
        with pytest.raises(VaultError):
            vault(tmp_path).write(OrderSnapshot(partition))
    assert not (tmp_path / "vault").exists()


# -- new keys -----------------------------------------------------------------------------------------

OTHERS = [EventPartition(number, "2031", "corporate") for number in (90002, 90003)]


def filled(folder: Path, keys: Sequence[str] = (KEY,)) -> Vault:
    stored = vault(folder, keys)
    for partition in (PARTITION, *OTHERS):
        stored.write(replace(snapshot(1), partition=partition))
    return stored


def test_a_second_rotation_has_nothing_to_do(tmp_path: Path) -> None:
    before = filled(tmp_path).read(PARTITION.key)
    both = vault(tmp_path, [NEW_KEY, KEY])
    assert both.rotate() == Rotation(reencrypted=3, current=0, unreadable=())
    assert both.rotate() == Rotation(reencrypted=0, current=3, unreadable=())
    assert vault(tmp_path, [NEW_KEY]).read(PARTITION.key) == before


def test_a_rotation_that_was_killed_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    replaced: list[Any] = []
    real = os.replace

    def dies_at_the_second(*paths: Any) -> None:
        replaced.append(paths)
        if len(replaced) == 2:
            raise KeyboardInterrupt
        real(*paths)

    monkeypatch.setattr(os, "replace", dies_at_the_second)
    both = vault(tmp_path, [NEW_KEY, KEY])
    with pytest.raises(KeyboardInterrupt):
        both.rotate()
    monkeypatch.undo()
    assert both.rotate() == Rotation(reencrypted=2, current=1, unreadable=())


def test_an_object_no_key_opens_is_named_and_the_others_are_rotated(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "vault" / f"{PARTITION.key}.orders"
    path.write_bytes(path.read_bytes()[:-1])
    outcome = vault(tmp_path, [NEW_KEY, KEY]).rotate()
    assert (outcome.reencrypted, outcome.current) == (2, 0)
    [problem] = outcome.unreadable
    assert PARTITION.key in problem
    assert "VAULT_KEY" in problem


def test_a_writer_in_the_middle_of_a_rotation_loses_nothing() -> None:
    class Busy(MemoryStore):
        """A store where somebody with the old key writes in the middle of a rotation."""

        is_armed = False

        def write(self, name: str, content: bytes, expected: str | None) -> bool:
            if self.is_armed:
                self.is_armed = False
                written.append(Vault(self, [KEY]).write(base))
            return super().write(name, content, expected)

    written: list[Any] = []
    store = Busy()
    base = Vault(store, [KEY]).write(snapshot(1))
    store.is_armed = True
    assert Vault(store, [NEW_KEY, KEY]).rotate() == Rotation(reencrypted=1, current=0, unreadable=())
    assert Vault(store, [NEW_KEY]).read(PARTITION.key) == written[0]


def test_a_rotation_without_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="VAULT_URL"):
        vault(tmp_path).rotate()


def test_the_command_counts_and_asks_for_a_missing_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path)
    monkeypatch.setenv("VAULT_URL", str(tmp_path / "vault"))
    monkeypatch.setenv("PYCONTW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VAULT_KEY", NEW_KEY)
    assert main(["rotate-vault"]) == MISCONFIGURED
    assert PARTITION.key in capsys.readouterr().out
    monkeypatch.setenv("VAULT_KEY", f"{NEW_KEY},{KEY}")
    assert [main(["rotate-vault"]) for _ in range(2)] == [FINE, FINE]
    assert capsys.readouterr().out == (
        "vault: 3 encrypted again, 0 had the first key already\nvault: 0 encrypted again, 3 had the first key already\n"
    )
    assert not (tmp_path / "home").exists(), "nothing but the vault is opened"


def test_a_process_that_was_stopped_in_the_middle_of_a_write_holds_up_nobody_for_ever(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, lock_seconds=0.1)
    assert store.write("a.orders", b"old", None)
    with (tmp_path / "a.orders.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(VaultError, match=r"another process is writing a\.orders for over 0 s"):
            store.write("a.orders", b"new", store.read("a.orders").version)
    assert store.write("a.orders", b"new", store.read("a.orders").version)


def test_a_record_without_times_of_payment_is_written_as_older_versions_read_it() -> None:
    line = _record_to_json(snapshot(1).records[1])
    assert set(line) == {"attendee", "missing_polls", "first_seen_at", "gone_at", "read_at", "changed_at"}


def test_orders_with_two_lines_of_one_attendee_take_a_newcomer() -> None:
    store, name = MemoryStore(), f"{PARTITION.key}.orders"
    Vault(store, [KEY]).write(snapshot(1, 2))
    event, first, second = lines_of(store)
    store.objects[name] = Fernet(KEY).encrypt(zlib.compress(b"\n".join([event, first, first, second, b""])))
    vault = Vault(store, [KEY])
    opened = vault.read(PARTITION.key)
    assert opened is not None
    vault.write(replace(opened, records={**opened.records, **snapshot(3, 4).records}))
    assert len(lines_of(store)) == 5
