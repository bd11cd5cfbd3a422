"""What a person sees in Dagster: where each column comes from, what each materialization counted, what was checked."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import AssetKey, AssetRecordsFilter

from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import Pipeline, describe

TABLE = "ods_kktix_ticket_individual_attendees"
ASSETS = (
    "kktix",
    "raw_kktix_orders",
    TABLE,
    "gather_guestlist",
    "klaviyo_template",
    "klaviyo_list",
    "klaviyo_campaign",
    "gather_town",
    "klaviyo",
)


@pytest.fixture
def pipeline(install: Install, world: World) -> Pipeline:
    event = world.add_event("PyCon TW 2031 Registration: Individual")
    world.sell(event, 2)
    world.sell(event, paid=False)
    return install()


def metadata_of(pipeline: Pipeline, asset: str) -> dict[str, Any]:
    """Of the newest materialization."""
    [record] = pipeline.instance.fetch_materializations(AssetRecordsFilter(AssetKey(asset)), limit=1).records
    assert record.asset_materialization
    return {name: item.value for name, item in record.asset_materialization.metadata.items()}


def specs(pipeline: Pipeline) -> dict[str, Any]:
    return {spec.key.to_user_string(): spec for spec in pipeline.definitions.resolve_all_asset_specs()}


@pytest.mark.parametrize("asset", ASSETS)
def test_every_asset_says_what_it_is_whose_it_is_and_where_it_stands(pipeline: Pipeline, asset: str) -> None:
    spec = specs(pipeline)[asset]
    assert len(spec.description) > 40
    assert spec.owners
    assert spec.kinds
    assert spec.group_name in ("extract", "load", "authorize", "send_email")


def test_every_column_of_a_table_names_the_field_or_question_it_is_made_of(pipeline: Pipeline) -> None:
    spec = specs(pipeline)[TABLE]
    lineage = spec.metadata["dagster/column_lineage"].deps_by_column
    known = {column.name for column in specs(pipeline)["raw_kktix_orders"].metadata["dagster/column_schema"].columns}
    [source] = lineage["email_sha256"]
    assert (source.asset_key.to_user_string(), source.column_name) == ("raw_kktix_orders", "聯絡人 Email")
    assert {dep.column_name for deps in lineage.values() for dep in deps} <= known
    ours = {"partition_key", "edition", "family", "event_id", "unclassified_answers", "content_digest", "loaded_at"}
    described = {column.name for column in spec.metadata["dagster/column_schema"].columns}
    assert described - set(lineage) == ours


def test_a_materialization_carries_counts_and_a_preview_without_a_person(pipeline: Pipeline, world: World) -> None:
    pipeline.poll()
    orders, table = metadata_of(pipeline, "raw_kktix_orders"), metadata_of(pipeline, TABLE)
    assert (orders["attendees"], orders["usable"], orders["pending"], orders["new"]) == (3, 2, 1, 3)
    assert [row.data["is_usable"] for row in orders["newest"].records] == [True, True, False]
    assert [row.data["is_usable"] for row in table["newest"].records] == [True, True, False]
    people = {
        person for ticket in world.kktix.tickets.values() for person in (ticket.person.address, ticket.person.name)
    }
    assert people
    shown = f"{orders} {table}"
    assert not [person for person in people if person in shown]


def test_every_check_of_a_good_poll_passes(pipeline: Pipeline) -> None:
    report = pipeline.poll()
    assert report.ok, describe(report)
    checks = pipeline.definitions.resolve_asset_graph().asset_check_keys
    latest = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    states = {str(key.name): latest[key].status.value for key in latest}
    unknown_question = states.pop("questions_are_known")  # the invented form has one that no rule names
    assert "rows_match_the_orders" in states
    assert (set(states.values()), unknown_question) == ({"SUCCEEDED"}, "FAILED")


def test_a_table_is_not_written_while_a_value_in_clear_looks_personal(pipeline: Pipeline, world: World) -> None:
    """An organiser put an address into the name of a ticket type."""
    pipeline.poll()
    before = pipeline.tables()
    [ticket, *_] = world.kktix.tickets.values()
    ticket.overrides["ticket_name"] = "ask buyer.one@example.org"
    pipeline.clock.advance(7200)
    world.sell(ticket.event_id)
    report = pipeline.later_poll()
    text = describe(report)
    assert "ticket_name: 1 values look like an address" in text
    assert "policy.yaml" in text
    assert "buyer.one" not in text
    assert pipeline.tables() == before


def test_an_unknown_question_is_a_warning_that_keeps_nothing_waiting(pipeline: Pipeline, world: World) -> None:
    for ticket in world.kktix.tickets.values():
        ticket.answers.insert(0, ["Favourite animal?", "quokka"])
    report = pipeline.poll()
    assert report.ok, describe(report)
    assert "Favourite animal?" in metadata_of(pipeline, TABLE)["unknown_questions"]
