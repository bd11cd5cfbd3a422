"""Links lead to the services in production and to the box office in a sandbox, and never hold a key."""

from __future__ import annotations

from pathlib import Path

from dagster import MetadataValue

from pycontw_assets.orchestration.links import Links

PRODUCTION = Links(
    is_sandbox=False,
    kktix_url="https://user:secret@kktix.example.org/api/v2/hosting_events?token=secret",
    duckdb_file=Path("/data/warehouse.duckdb"),
    dataset="ods",
)
SANDBOX = Links(True, "http://127.0.0.1:8031/kktix/api/v2/hosting_events", Path("/data/warehouse.duckdb"), "ods")


def test_in_production_links_lead_to_the_services() -> None:
    assert PRODUCTION.kktix == "https://kktix.example.org/dashboard"
    assert PRODUCTION.campaign("01JC") == "https://www.klaviyo.com/campaign/01JC"
    assert PRODUCTION.mailing_list("LsT001") == "https://www.klaviyo.com/list/LsT001"
    assert PRODUCTION.mailing_list(None) == "https://www.klaviyo.com/lists"
    assert PRODUCTION.template("TmP001") == "https://www.klaviyo.com/email-editor/TmP001/edit"


def test_in_a_sandbox_they_lead_to_its_page() -> None:
    pages = {SANDBOX.kktix, SANDBOX.campaign("01JC"), SANDBOX.mailing_list("LsT001"), SANDBOX.template("TmP001")}
    assert pages == {"http://127.0.0.1:8031/"}


def test_a_table_is_named_and_found_in_the_warehouse_that_is_configured() -> None:
    assert (SANDBOX.warehouse, SANDBOX.table_name("t")) == ("duckdb", "ods.t")
    assert SANDBOX.table("t") == MetadataValue.path("/data/warehouse.duckdb")
    cloud = Links(False, "https://kktix.com/api", Path("/data/warehouse.duckdb"), "ods", "a-project")
    assert (cloud.warehouse, cloud.table_name("t")) == ("bigquery", "a-project.ods.t")
    assert cloud.table("t").value == "https://console.cloud.google.com/bigquery?p=a-project&d=ods&t=t&page=table"
