"""Every wait is counted once, and no drawing is wider than a phone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pycontw_assets.play.drill.waits import WIDTH, Waited, bucket_seconds, counts, histogram, table

NOON = datetime(2031, 6, 1, 12, tzinfo=timezone.utc)


def waited(access: float | None, mail: float | None = None, after: float = 0) -> Waited:
    return Waited(NOON + timedelta(seconds=after), access, mail)


def test_a_wait_meets_the_events_before_its_end() -> None:
    start, end = NOON + timedelta(seconds=100), NOON + timedelta(seconds=200)
    assert not waited(99).meets(start, end)
    assert waited(99, 101).meets(start, end)
    assert waited(1, after=150).meets(start, end)
    assert not waited(500, after=200).meets(start, end)


def test_buckets_are_half_open_and_count_only_people_who_waited() -> None:
    assert counts([0, 59.9, 60, None], 60) == {0: 2, 1: 1}


def test_a_histogram_never_has_more_rows_than_a_screen() -> None:
    for slowest in (0, 1, 59, 61, 900, 3600, 90_000):
        assert slowest / bucket_seconds(slowest) <= 12


def test_every_wait_is_in_one_row_of_the_histogram() -> None:
    rows = list(histogram([waited(10, 20), waited(70, None), waited(700, 710)]))
    assert rows[0].split() == ["seconds", "to", "access", "to", "invitation"]
    counted = [[int(word) for word in row.split()[1:] if word.isdecimal()] for row in rows[1:]]
    assert sum(number for row in counted for number in row) == 5


def test_the_table_shows_each_group_and_none_where_nobody_waited() -> None:
    rows = list(table([("all", [waited(10, 20), waited(30, None)]), ("something failed", [])]))
    assert rows[1].split() == ["all,", "to", "access", "2", "10", "30", "30"]
    assert rows[2].split() == ["all,", "to", "invitation", "1", "20", "20", "20"]
    assert rows[3].split()[-1] == "none"


def test_nothing_is_wider_than_a_phone() -> None:
    many = [waited(float(second), float(second)) for second in range(20_000)]
    lines = [*histogram(many), *table([("something failed", many)])]
    assert max(map(len, lines)) <= WIDTH


def test_nobody_waited_draws_nothing() -> None:
    assert list(histogram([])) == []
