"""The pages of Dagster show the origin of each column, the counts of each materialization, and the checks."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import AssetCheckEvaluation, AssetCheckKey, AssetKey, AssetRecordsFilter
from pydantic import SecretStr

from pycontw_assets.orchestration.graph.build import build_definitions
from pycontw_assets.orchestration.kktix_checks import changed_kktix_verdicts
from pycontw_assets.orchestration.metadata import bulleted
from pycontw_assets.pipeline.composition import Composition
from pycontw_assets.sandbox.world import World
from pycontw_assets_tests.pipeline.conftest import Install
from pycontw_assets_tests.pipeline.harness import SERVICES, Pipeline, describe

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
    """Return the metadata of the newest materialization."""
    [record] = pipeline.instance.fetch_materializations(AssetRecordsFilter(AssetKey(asset)), limit=1).records
    assert record.asset_materialization
    return {name: item.value for name, item in record.asset_materialization.metadata.items()}


def specs(pipeline: Pipeline) -> dict[str, Any]:
    return {spec.key.to_user_string(): spec for spec in pipeline.definitions.resolve_all_asset_specs()}


@pytest.mark.parametrize("asset", [*ASSETS, "discord_invites"])
def test_every_asset_has_a_description_an_owner_and_a_group(pipeline: Pipeline, asset: str) -> None:
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
    made_here = {
        "partition_key",
        "edition",
        "family",
        "event_id",
        "policy_version",
        "unclassified_answers",
        "content_digest",
        "loaded_at",
    }
    described = {column.name for column in spec.metadata["dagster/column_schema"].columns}
    assert described - set(lineage) == made_here


def test_a_materialization_carries_counts_and_a_preview_without_a_person(pipeline: Pipeline, world: World) -> None:
    pipeline.poll()
    orders, table = metadata_of(pipeline, "raw_kktix_orders"), metadata_of(pipeline, TABLE)
    assert (orders["attendees"], orders["usable"], orders["unpaid"], orders["new"]) == (3, 2, 1, 3)
    assert [row.data["is_usable"] for row in orders["newest"].records] == [True, True, False]
    assert [row.data["is_usable"] for row in table["newest"].records] == [True, True, False]
    [version] = {row["policy_version"] for row in pipeline.tables()["individual"]}
    assert table["policy_version"] == version
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


def check_of(pipeline: Pipeline, asset: str, name: str) -> Any:
    """Return the latest evaluation of a check."""
    key = AssetCheckKey(AssetKey(asset), name)
    return pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key].evaluation


def verdicts(pipeline: Pipeline, asset: str, name: str) -> dict[str | None, str]:
    """Return the latest verdict of a check by partition, as the UI reads them. ``None``: of the asset as a whole."""
    infos = pipeline.instance.event_log_storage.get_asset_check_partition_info([AssetCheckKey(AssetKey(asset), name)])
    assert all(info.is_current for info in infos if info.partition_key), "a verdict is about the newest materialization"
    return {info.partition_key: info.latest_execution_status.value for info in infos}


@pytest.mark.long
@pytest.mark.parametrize("troubled", ["individual", "corporate"])
def test_every_event_has_a_verdict_of_its_own(pipeline: Pipeline, world: World, troubled: str) -> None:
    """Two events are due in one poll; one of them has an attendee in quarantine."""
    other = world.add_event("PyCon TW 2031 Registration: Corporate")
    world.sell(other)
    [spoilt] = world.sell(other if troubled == "corporate" else 90001)
    world.kktix.override(spoilt, is_paid="yes")
    pipeline.poll()
    quarantined = f"2031-{troubled}-{other if troubled == 'corporate' else 90001}"
    found = verdicts(pipeline, "raw_kktix_orders", "every_attendee_was_read")
    assert len(found) == 2
    assert {key for key, state in found.items() if state == "FAILED"} == {quarantined}


def test_every_check_of_a_partitioned_asset_has_its_partitions(pipeline: Pipeline) -> None:
    graph = pipeline.definitions.resolve_asset_graph()
    checks = {key: graph.get(key).partitions_def for key in graph.asset_check_keys}
    assert any(checks.values())
    assert [key for key, by in checks.items() if by != graph.get(key.asset_key).partitions_def] == []


def test_verdicts_that_an_older_version_left_give_way_to_those_by_event(pipeline: Pipeline) -> None:
    """Until 2026 every check had one verdict for all events, without a partition."""
    for name in ("orders_were_read_whole", "orders_match_the_book"):
        old = AssetCheckEvaluation(AssetKey("raw_kktix_orders"), name, passed=False, metadata={"problems": "old"})
        pipeline.instance.report_runless_asset_event(old)
    assert pipeline.poll().ok
    found = verdicts(pipeline, "raw_kktix_orders", "orders_were_read_whole")
    assert found == {None: "FAILED", "2031-individual-90001": "SUCCEEDED"}
    assert check_of(pipeline, "raw_kktix_orders", "orders_were_read_whole").partition == "2031-individual-90001"


@pytest.mark.long
def test_every_asset_and_every_tick_counts_its_requests(pipeline: Pipeline, world: World) -> None:
    pipeline.poll()
    asked = {asset: metadata_of(pipeline, asset)["requests"] for asset in ASSETS[:-2] if asset != TABLE}
    sent = {service: len([call for call in world.calls.find() if call.service == service]) for service in SERVICES}
    looked_for_a_lost_ledger = 3  # the first tick of a new ledger asks Klaviyo, too: campaigns, archived ones, metrics
    assert sent["kktix"] == asked["kktix"] - looked_for_a_lost_ledger + asked["raw_kktix_orders"]
    assert sent["gather"] == asked["gather_guestlist"] > 0
    mailing = asked["klaviyo_template"] + asked["klaviyo_list"] + asked["klaviyo_campaign"]
    assert sent["klaviyo"] == mailing + looked_for_a_lost_ledger


@pytest.mark.long
def test_waits_are_counted_from_payment_to_access_and_to_the_mail(pipeline: Pipeline, world: World) -> None:
    [unpaid] = [ticket.attendee_id for ticket in world.kktix.tickets.values() if not ticket.is_paid]
    pipeline.poll()
    pipeline.clock.advance(1000)
    world.kktix.pay(unpaid)
    pipeline.clock.advance(60)
    pipeline.poll()
    access, mail = metadata_of(pipeline, "gather_guestlist"), metadata_of(pipeline, "klaviyo_campaign")
    waited = access["seconds_from_payment_to_access_max"], mail["seconds_from_payment_to_invitation_max"]
    assert 60 <= waited[0] <= waited[1] < 600
    assert mail["seconds_from_payment_to_invitation_p50"] == mail["seconds_from_payment_to_invitation_p95"] == waited[1]


def test_links_lead_to_the_box_office_of_a_sandbox_and_hold_no_key(pipeline: Pipeline) -> None:
    pipeline.poll()
    home = pipeline.settings.kktix_api_url.split("/kktix")[0] + "/"
    pages = {"raw_kktix_orders": "kktix_page", "klaviyo_list": "list_page", "klaviyo_template": "template_page"}
    assert {metadata_of(pipeline, asset)[name] for asset, name in pages.items()} == {home}
    assert metadata_of(pipeline, "klaviyo_campaign")["campaigns"].endswith(f"({home})")
    shown = "".join(str(metadata_of(pipeline, asset)) for asset in ASSETS)
    secrets = (value.get_secret_value() for value in dict(pipeline.settings).values() if isinstance(value, SecretStr))
    assert not [secret for secret in secrets if secret in shown]


def test_the_tables_are_of_the_kind_of_the_warehouse_that_is_configured(pipeline: Pipeline) -> None:
    assert specs(pipeline)[TABLE].kinds == {pipeline.settings.warehouse, "table"}
    changes = {"warehouse": "bigquery", "bigquery_project": "a-project", "bigquery_dataset": "ods"}
    cloud = pipeline.settings.model_copy(update=changes)
    definitions = build_definitions(Composition(lambda: cloud))
    spec = next(spec for spec in definitions.resolve_all_asset_specs() if spec.key.to_user_string() == TABLE)
    assert spec.kinds == {"bigquery", "table"}
    assert spec.metadata["dagster/table_name"] == f"a-project.ods.{TABLE}"
    assert "console.cloud.google.com" in spec.metadata["table"].value


@pytest.mark.long
def test_entitled_people_add_up_to_invited_unreachable_and_waiting_ones(pipeline: Pipeline, world: World) -> None:
    world.sell(90001)
    pipeline.restart(invite_limit=0)
    pipeline.poll()
    check = ("klaviyo_campaign", "everybody_entitled_is_accounted_for")
    summary = (
        "2 entitled = 2 let in + 0 waiting for access; 2 let in = {} invited + 0 unreachable + {} waiting for mail"
    )
    assert (check_of(pipeline, *check).passed, check_of(pipeline, *check).description) == (True, summary.format(0, 2))
    pipeline.later_poll("invite")
    assert check_of(pipeline, *check).description == summary.format(2, 0)


@pytest.mark.long
def test_an_undecided_event_fails_the_kktix_check_until_it_is_decided(pipeline: Pipeline, world: World) -> None:
    world.add_event("PyCon TW 2031 Registration: Individual and Corporate")
    pipeline.poll()
    failed = check_of(pipeline, "kktix", "events_are_matched")
    assert not failed.passed
    [problem] = bulleted(failed.metadata["problems"])
    assert problem.endswith("map it in KKTIX_EVENTS")
    assert list(pipeline.call(changed_kktix_verdicts, pipeline.instance, pipeline.later_poll().tick)) == []
    pipeline.restart(kktix_events={"90002": None})
    pipeline.later_poll()
    assert check_of(pipeline, "kktix", "events_are_matched").passed


@pytest.mark.long
def test_an_event_with_unreadable_news_is_stale_after_a_while(pipeline: Pipeline, world: World) -> None:
    pipeline.poll()
    world.faults.add("kktix", "status", status=500, path="attendance_books", times=None)
    pipeline.later_poll()
    assert check_of(pipeline, "kktix", "every_event_is_up_to_date").passed
    pipeline.clock.advance(7200)
    pipeline.poll()
    stale = check_of(pipeline, "kktix", "every_event_is_up_to_date")
    assert not stale.passed
    assert "2031-individual-90001: not up to date since" in stale.metadata["problems"].value
    world.faults.clear()
    pipeline.until_quiet()
    assert check_of(pipeline, "kktix", "every_event_is_up_to_date").passed


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
    assert verdicts(pipeline, TABLE, "holds_no_personal_data") == {"2031-individual-90001": "FAILED"}


def test_an_unknown_question_is_a_warning_that_keeps_nothing_waiting(pipeline: Pipeline, world: World) -> None:
    for ticket in world.kktix.tickets.values():
        ticket.answers.insert(0, ["Favourite animal?", "quokka"])
    report = pipeline.poll()
    assert report.ok, describe(report)
    assert "Favourite animal?" in metadata_of(pipeline, TABLE)["unknown_questions"]
