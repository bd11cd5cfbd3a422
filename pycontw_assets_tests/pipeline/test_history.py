"""Exports of former editions beside a sale: in the same lineage, right to the person, and nobody hears of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pycontw_assets.commands.cli import main
from pycontw_assets.commands.exits import FINE, MISCONFIGURED
from pycontw_assets.commands.trace import trace
from pycontw_assets.deidentify.holders import contact_address
from pycontw_assets.extract.exports.reading import File, read_export
from pycontw_assets.ledger.batches import find_newcomers
from pycontw_assets.ledger.grants import current_grants, holders_to_let_in
from pycontw_assets.ledger.history.imports import known_imports
from pycontw_assets.load.readers.returning import read_returning
from pycontw_assets.orchestration.history.imports import load_import
from pycontw_assets.orchestration.observations import family_events, kktix_events
from pycontw_assets.pipeline.erase import Erasure
from pycontw_assets.pipeline.history.importing import find_imports, import_export, kind_of_question, remove_import
from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN
from pycontw_assets.pipeline.steps import load_rows, stored_records
from pycontw_assets.records import EventPartition, Family
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import EDITION, Pipeline
from pycontw_assets_tests.unit.history.exports import attendee, attendees_csv

pytestmark = pytest.mark.long

YEARS = [str(year) for year in range(2018, 2031)]
LIVE = EventPartition.imported(EDITION, "corporate")
CARL = "carl-of-old@example.org"


def import_people(
    pipeline: Pipeline, edition: str, addresses: list[str], family: Family = "individual", *, in_dagster: bool = True
) -> EventPartition:
    """Import an export of these people. ``in_dagster``: as the command does; otherwise without the cost of two runs."""
    rows = [attendee(number, address, year=int(edition)) for number, address in enumerate(addresses, start=1)]
    partition = EventPartition.imported(edition, family)
    export = read_export(File("x.csv", attendees_csv(rows)), edition=edition, family=family, kind_of=kind_of_question)
    pipeline.call(import_export, partition, export)
    if not in_dagster:
        pipeline.call(load_rows, partition, stored_records(pipeline.root.vault, pipeline.ledger, partition))
        return partition
    reports = list(load_import(pipeline.definitions, pipeline.instance, partition))
    assert [(report.ok, report.problems) for report in reports] == [(True, ())] * 2
    return partition


def regulars(number: int) -> list[str]:
    return [f"regular-{i}@example.org" for i in range(number)]


@pytest.fixture
def sold(pipeline: Pipeline, world: World, event: int) -> Pipeline:
    """Sell the live edition to eight people, five of whom came in former years, and invite them all."""
    for address in [*regulars(5), "new-1@example.org", "new-2@example.org", "new-3@example.org"]:
        world.sell(event, address=address)
    pipeline.poll()
    return pipeline


def test_imports_of_all_years_let_nobody_in_and_mail_nobody(sold: Pipeline, world: World) -> None:
    """Also the import of the live edition, whose tickets are paid and valid, by itself, by hand, and as EDITION."""
    sold.until_quiet()
    mark, guests = sold.mark(), sold.guests()
    years = random.Random(1).sample(YEARS, len(YEARS))
    for year in years:
        came = int(year) - 2018
        people = [*regulars(6), CARL, *(f"once-{year}-{i}@example.org" for i in range(came))]
        import_people(sold, year, people, in_dagster=year in ("2018", "2030"))
    import_people(sold, EDITION, [f"stranger-{i}@example.org" for i in range(6)], LIVE.family)
    assert sold.requests(mark) == 0

    assert sold.later_poll().ok
    for key in ("2030-individual-import", LIVE.key):  # everything of the chain, as somebody may do in the UI
        result = sold.definitions.resolve_job_def("grant_access_job").execute_in_process(
            instance=sold.instance, partition_key=key
        )
        made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
        assert made == {*ACCESS_CHAIN}
        assert holders_to_let_in(sold.ledger, key, key[:4], done=()) == {}
        assert find_newcomers(sold.ledger, key, key[:4]) == {}
    sold.restart(edition="2030")
    assert sold.later_poll().ok
    assert current_grants(sold.ledger, "2030") == {}
    sold.restart(edition=EDITION)
    assert sold.until_quiet().ok
    assert sold.writes(mark) == ["POST /api/templates"]  # of the edition that was live for one poll
    assert sold.mailed(mark) == []
    assert sold.guests() == guests
    assert len(sold.mailed()) == len(current_grants(sold.ledger, EDITION)) == 8
    assert sold.verdict() == []

    rows = {(row.edition, row.family): row for row in read_returning(sold.root.warehouse)}
    assert rows["2018", "individual"].first_timers == 7
    for year in YEARS[1:]:
        row, came, before = rows[year, "individual"], int(year) - 2018, int(year) - 2019
        assert row.first_timers == (came if came >= 5 else None)
        assert row.returning_after_one_year == 7
        assert row.returning_after_more is None
        assert row.lapsed == (before if before >= 5 else None)
    live = rows[EDITION, "individual"]
    assert (live.first_timers, live.returning_after_one_year, live.lapsed) == (None, 5, 2 + 12)
    assert rows[EDITION, "corporate"].first_timers == 6
    assert sold.grep_home([CARL, "stranger-1@example.org", "Anna Invented"]) == []


def test_an_imported_person_is_found_traced_and_erased(sold: Pipeline) -> None:
    partition = import_people(sold, "2019", [*regulars(6), CARL])
    assert sold.call(trace, CARL, klaviyo=None).imports == (
        "2019-individual-import: 1 attendees of a former edition, which let nobody in and mail nobody",
    )
    erasure = sold.call(Erasure)
    found = erasure.find(CARL)
    assert (list(found.tickets), found.usable, found.rows) == ([partition], 0, 2)
    assert erasure.run(CARL).problems == []
    assert erasure.find(CARL).is_nothing
    stored = sold.root.vault.read(partition.key)
    assert stored is not None
    assert CARL not in {contact_address(record.attendee) for record in stored.records.values()}
    assert len(sold.tables()["individual"]) == 8 + 6
    import_people(sold, "2019", [*regulars(6), CARL])
    assert erasure.find(CARL).is_nothing
    assert [row.first_timers for row in read_returning(sold.root.warehouse)] == [6, None]
    assert sold.later_poll().ok


def test_a_wrong_import_is_taken_away_and_a_lost_ledger_finds_the_others(sold: Pipeline) -> None:
    before = sold.tables()
    wrong = import_people(sold, "2019", [*regulars(6), CARL])
    right = import_people(sold, "2020", regulars(6))
    assert sold.call(remove_import, wrong) == 7
    assert list(known_imports(sold.ledger)) == [right.key]
    with sold.ledger.engine.begin() as database:
        database.exec_driver_sql("delete from imports")
    assert find_imports(vault=sold.root.vault, ledger=sold.ledger) == [right]
    sold.forget_history()
    assert sold.later_poll().ok
    for definition in (kktix_events, family_events["individual"]):
        assert right.key in sold.instance.get_dynamic_partitions(str(definition.name))
    assert sold.call(remove_import, right) == 6
    assert sold.tables() == before
    assert [row.first_timers for row in read_returning(sold.root.warehouse)] == [8]


def test_the_command_imports_refuses_and_removes(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = install(on_disk=True)
    monkeypatch.setenv("PYCONTW_HOME", str(pipeline.home))
    file, other = tmp_path / "attendees.csv", tmp_path / "other.csv"
    file.write_bytes(attendees_csv([attendee(1), attendee(2, CARL)]))
    other.write_bytes(attendees_csv([attendee(1, year=2020)]))
    assert main(["import-csv", "2019", "individual", str(file)]) == FINE
    assert main(["import-csv", "2019", "individual", str(file)]) == FINE
    assert capsys.readouterr().out.splitlines() == [
        "2019-individual-import: new, 2 attendees",
        "2019-individual-import: unchanged, 2 attendees",
    ]
    assert main(["import-csv", "2019", "individual", str(other)]) == MISCONFIGURED
    refused = capsys.readouterr().err
    assert "attendees.csv: row 2, column I: sold in 2020" in refused
    assert "Nothing was changed" in refused
    assert main(["import-csv", "19", "individual", str(file)]) == MISCONFIGURED
    assert main(["import-csv", "2019", "individual", "no such file"]) == MISCONFIGURED
    assert main(["import-csv", "2019", "individual"]) == MISCONFIGURED
    assert main(["import-csv", "2019", "individual", "--remove"]) == FINE
    assert capsys.readouterr().out == "2019-individual-import: removed, with 2 rows\n"
    assert main(["import-csv", "2019", "individual", "--remove"]) == 1
