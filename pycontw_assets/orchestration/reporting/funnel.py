"""The asset at the end of the access branch: the funnel of the live edition, from the order to the click.

No postponed annotations: Dagster reads the types of resources while it loads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, ResourceParam, RunRequest, asset

from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.reporting.funnel import ask_for_funnel, funnel_digest, record_funnel
from pycontw_assets.load.reporting.invitation_funnel import (
    COUNTS,
    FEWEST_SHOWN,
    HIDDEN_WHILE_FEW,
    INVITATION_FUNNEL,
    write_funnel,
)
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.links import Links
from pycontw_assets.orchestration.metadata import markdown_table, table_columns
from pycontw_assets.orchestration.run_recording import recorded_run
from pycontw_assets.pipeline.reporting.campaign_report import APART
from pycontw_assets.pipeline.reporting.funnel import FunnelRow, read_funnel
from pycontw_assets.pipeline.steps import UnknownPartition, recorded_edition
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

FUNNEL = INVITATION_FUNNEL.name
_JOB = f"{FUNNEL}_job"
_OWNERS = ["team:pycontw-registration"]


def funnel_asset(links: Links) -> AssetsDefinition:
    """Return the asset of the table."""

    @asset(
        name=FUNNEL,
        deps=["gather_guestlist", "klaviyo_campaign"],
        group_name="reporting",
        kinds={links.warehouse, "table"},
        owners=_OWNERS,
        metadata={
            "dagster/table_name": links.table_name(FUNNEL),
            "table": links.table(FUNNEL),
            "dagster/column_schema": table_columns(INVITATION_FUNNEL),
        },
        description="How far the people of the live edition came, by family: ordered, paid, let in, invited, "
        "delivered, clicked. Opens are inflated by mail programs. Counts without personal data. An hourly report of "
        "the mail service brings it up to date, when something changed.",
    )
    def invitation_funnel(
        context: AssetExecutionContext,
        vault: ResourceParam[Vault],
        warehouse: ResourceParam[Warehouse],
        ledger: ResourceParam[Ledger],
        settings: ResourceParam[Settings],
    ) -> MaterializeResult:
        with recorded_run("", FUNNEL, ledger=ledger, settings=settings):
            edition = recorded_edition(ledger, settings)
            if edition is None:
                raise UnknownPartition("no event is known yet, so no edition is live; the next poll registers events")
            digest = funnel_digest(ledger, edition)  # before the counting: what changes meanwhile is written next time
            rows = read_funnel(edition, ledger=ledger, vault=vault)
            outcomes = [
                write_funnel(warehouse, row.edition, row.family, counts=counts_of(row), as_of=row.as_of) for row in rows
            ]
            record_funnel(ledger, edition, digest)
            context.log.debug("%s rows written", outcomes.count("written"))
            return MaterializeResult(metadata=_metadata(rows))

    return invitation_funnel


def funnel_requests(edition: str | None, *, ledger: Ledger, tags: Mapping[str, str]) -> Iterator[RunRequest]:
    """Yield the run that writes the table, if its figures changed; at most one an hour."""
    if edition is not None and ask_for_funnel(ledger, edition, apart=APART):
        yield RunRequest(job_name=_JOB, tags=dict(tags))


def counts_of(row: FunnelRow) -> dict[str, int | None]:
    """Return the counts by the names of the table's columns."""
    counts = asdict(row) | {"opened_inflated": row.opened}
    return {name: counts[name] for name in COUNTS}


def _metadata(rows: Sequence[FunnelRow]) -> dict[str, Any]:
    """Return what the UI shows. The picture of the funnel joins here."""
    heads = ("family", *(name.replace("_", " ") for name in COUNTS), "as of (UTC)")
    lines = [
        [row.family, *(_cell(name, count) for name, count in counts_of(row).items()), _moment(row)] for row in rows
    ]
    return {"dagster/row_count": len(rows), "funnel": markdown_table(heads, lines)}


def _cell(name: str, count: int | None) -> object:
    if name in HIDDEN_WHILE_FEW and count and count < FEWEST_SHOWN:
        return f"under {FEWEST_SHOWN}"
    return "not known" if count is None else count


def _moment(row: FunnelRow) -> str:
    return f"{row.as_of:%Y-%m-%d %H:%M}" if row.as_of else "not yet"
