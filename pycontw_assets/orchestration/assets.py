"""The assets, top to bottom in flow order. Each is wiring: the stages decide and act, the ledger remembers.

No postponed annotations here: Dagster reads the types of ``context`` and of resources while it loads.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    AutomationCondition,
    DataVersion,
    DynamicPartitionsDefinition,
    IdentityPartitionMapping,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    TableColumn,
    TableSchema,
    asset,
)

from pycontw_assets.authorize.guest_list import GuestListStep
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.deidentify.pseudonymize import deidentify
from pycontw_assets.extract.orders import content_digest, next_refresh, open_ids
from pycontw_assets.extract.snapshot import read_books, take_snapshot
from pycontw_assets.leases import process_identity
from pycontw_assets.ledger import Poll
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import content_digest as table_digest
from pycontw_assets.orchestration.observe import OWNER_TAG
from pycontw_assets.orchestration.reconcile import table_asset
from pycontw_assets.orchestration.recovery import refuse_lost_ledger
from pycontw_assets.orchestration.resources import Services
from pycontw_assets.orchestration.safety import guarded
from pycontw_assets.records import FAMILIES, EventPartition, Family, OrderSnapshot
from pycontw_assets.send_email.campaign import CampaignStep
from pycontw_assets.send_email.named import ensure_template
from pycontw_assets.send_email.ticket_holders import list_name, sync_ticket_holders
from pycontw_assets.vault import VaultError

POLL_TAG = "pycontw/poll"
CONSENT_TAG = "pycontw/consent"
OWNERS = ["team:pycontw-registration"]

kktix_events = DynamicPartitionsDefinition(name="kktix_events")
family_events: dict[Family, DynamicPartitionsDefinition] = {
    family: DynamicPartitionsDefinition(name=f"kktix_{family}_events") for family in FAMILIES
}

kktix = AssetSpec(
    "kktix",
    group_name="extract",
    kinds={"kktix"},
    description="The ticket shop. Every tick observes which events it lists; those that are left alone are shown "
    "with the reason.",
)
gather_town = AssetSpec(
    "gather_town",
    group_name="authorize",
    kinds={"gather"},
    deps=["gather_guestlist"],
    description="The virtual venue: whoever is on its guest list may enter.",
)
klaviyo = AssetSpec(
    "klaviyo",
    group_name="send_email",
    kinds={"klaviyo"},
    deps=["klaviyo_campaign"],
    description="The mail service: sends the campaigns and counts opens and clicks.",
)


def _checked(asset_name: str, name: str, description: str) -> list[AssetCheckSpec]:
    return [AssetCheckSpec(name, asset=asset_name, description=description)]


def _verdict(name: str, problems: Iterable[str]) -> list[AssetCheckResult]:
    found = list(problems)
    text = "\n".join(f"- {problem}" for problem in found) or "none"
    return [AssetCheckResult(passed=not found, check_name=name, metadata={"problems": MetadataValue.md(text)})]


def _sign(context: AssetExecutionContext) -> None:
    """Name the process that does the work, so that a later tick can tell when it died."""
    context.instance.add_run_tags(context.run_id, {OWNER_TAG: process_identity()})


def _begin(context: AssetExecutionContext, services: Services) -> EventPartition:
    """Sign the run, and which event it is about."""
    _sign(context)
    return services.partition(context.partition_key)


def _poll_id(context: AssetExecutionContext) -> str:
    return str(context.run_tags.get(POLL_TAG, context.run_id))


def _consents(context: AssetExecutionContext) -> frozenset[str]:
    return frozenset(filter(None, context.run_tags.get(CONSENT_TAG, "").split(",")))


def _orders(services: Services, partition: EventPartition) -> OrderSnapshot:
    snapshot = services.vault.read(partition.key)
    if snapshot is None:
        raise VaultError(f"vault: there are no orders of {partition.key} yet; materialize raw_kktix_orders first")
    return snapshot


@asset(
    deps=["kktix"],
    partitions_def=kktix_events,
    group_name="extract",
    kinds={"python", "kktix"},
    owners=OWNERS,
    tags={"personal_data": "vault"},
    check_specs=_checked("raw_kktix_orders", "orders_were_read_whole", "Books were whole, nobody is quarantined."),
)
def raw_kktix_orders(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
    """Every attendee of one KKTIX event as last read, encrypted in the vault.

    New attendees are read at once, unpaid ones by every poll, known ones in rotation. Who left the attendance book is
    "gone" after two good polls; a broken book withdraws nobody.
    """
    with guarded():
        partition = _begin(context, services)
        earlier = services.ledger.poll_of(partition.key)
        refresh = timedelta(seconds=services.settings.refresh_seconds)
        with services.exclusive(f"orders of {partition.key}"):
            fresh = services.fresh_books.pop(partition.event_id, None)
            outcome = take_snapshot(
                services.kktix,
                services.vault,
                partition,
                fresh or read_books(services.kktix, partition.event_id),
                now=services.clock(),
                refresh=refresh,
                known_before=earlier.known if earlier else 0,
                trust_book="book" in _consents(context),
            )
            snapshot, digest = outcome.snapshot, content_digest(outcome.snapshot, services.table_rules)
            holders = set(snapshot.holders(services.pseudonymizer))
            if snapshot.rebuilding:
                holders |= services.ledger.holders_of(partition.key)
            poll = Poll(
                partition_key=partition.key,
                polled_at=services.clock(),
                book_digest=None if outcome.problem else outcome.book.digest,
                known=sum(record.gone_at is None for record in snapshot.records.values()),
                open_ids=open_ids(snapshot),
                refresh_at=next_refresh(snapshot, refresh),
                content_digest=digest,
                problem=outcome.problem,
            )
            services.ledger.record_poll(partition.edition, poll, holders)
        return MaterializeResult(
            data_version=DataVersion(digest[:16]),
            metadata=_order_counts(snapshot, outcome.new, outcome.reread),
            check_results=_verdict("orders_were_read_whole", _order_problems(snapshot, outcome.problem)),
        )


def _order_counts(snapshot: OrderSnapshot, new: int, reread: int) -> dict[str, int]:
    records = snapshot.records.values()
    present = [record for record in records if record.gone_at is None]
    return {
        "attendees": len(present),
        "usable": sum(record.is_usable for record in present),
        "pending": sum(not record.is_usable for record in present),
        "gone": len(records) - len(present),
        "new": new,
        "reread": reread,
        "quarantined": len(snapshot.quarantine),
        "tickets_without_usable_address": snapshot.unreachable_tickets(),
    }


def _order_problems(snapshot: OrderSnapshot, problem: str | None) -> list[str]:
    quarantined = [
        f"attendee {attendee_id}: {item.reason} (tried {item.attempts} times)"
        for attendee_id, item in sorted(snapshot.quarantine.items())
    ]
    return ([problem] if problem else []) + quarantined


def _table_columns(table: Table) -> TableSchema:
    return TableSchema([TableColumn(column.name, column.type, column.description) for column in table.columns])


def _attendee_table(family: Family, table: Table) -> AssetsDefinition:
    @asset(
        name=table_asset(family),
        deps=[AssetDep(raw_kktix_orders, partition_mapping=IdentityPartitionMapping())],
        partitions_def=family_events[family],
        group_name="load",
        kinds={"duckdb", "table"},
        owners=OWNERS,
        tags={"personal_data": "pseudonyms"},
        # A new snapshot with the same content (a re-read that found nothing) must not cost a run.
        automation_condition=AutomationCondition.eager().replace(
            "newly_updated_without_root", AutomationCondition.data_version_changed()
        ),
        metadata={
            "dagster/table_name": f"ods.{table.name}",
            "dagster/column_schema": _table_columns(table),
            "partition_expr": "partition_key",
        },
        description=f"One row per {family} attendee, de-identified by deidentify/policy.yaml. Cancelled ones stay, "
        "flagged. An event's rows are replaced in one statement.",
    )
    def attendees(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
        with guarded():
            partition = _begin(context, services)
            snapshot = _orders(services, partition)
            result = deidentify(list(snapshot.records.values()), partition, services.pseudonymizer)
            outcome = services.warehouse.replace_partition(
                table, partition.key, result.frame, table_digest(result.frame)
            )
            services.ledger.record_load(partition.key, content_digest(snapshot, services.table_rules))
            return MaterializeResult(
                metadata={
                    "dagster/partition_row_count": len(result.frame),
                    "outcome": outcome,
                    "unknown_questions": _question_table(result.unknown_questions),
                    "unlisted_answers": _question_table(result.unlisted_answers),
                    "repeated_answers": _question_table(result.repeated_answers),
                }
            )

    return attendees


def _question_table(questions: Mapping[str, int]) -> Any:
    lines = [f"| {question.replace('|', '/')} | {count} |" for question, count in sorted(questions.items())]
    return MetadataValue.md("\n".join(["| where | answers |", "| --- | --- |", *lines]) if lines else "none")


@asset(
    deps=[raw_kktix_orders],
    partitions_def=kktix_events,
    group_name="authorize",
    kinds={"python", "gather"},
    owners=OWNERS,
    check_specs=_checked(
        "gather_guestlist", "guest_list_is_in_line", "Nothing was refused, every guest was confirmed."
    ),
)
def gather_guestlist(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
    """Holders of a usable ticket are on the Gather guest list, seen there by reading; refunded ones are taken off.

    Only guests this pipeline added are ever removed, and only when the list that was read looks whole.
    """
    with guarded():
        partition = _begin(context, services)
        step = GuestListStep(
            services.gather,
            services.ledger,
            services.pseudonymizer,
            lambda: services.exclusive("gather guest list"),
            _poll_id(context),
            services.settings.revoke_limit,
            _consents(context),
        )
        outcome = step.run(partition, _orders(services, partition).holders(services.pseudonymizer))
        context.log_event(AssetMaterialization("gather_town", description=f"In line with {partition.key}."))
        return MaterializeResult(
            metadata={
                "granted": outcome.granted,
                "on_the_list_before_us": outcome.adopted,
                "revoked": outcome.revoked,
                "unconfirmed": outcome.unconfirmed,
                "revocations_waiting": outcome.waiting_revocations,
                "venue": MetadataValue.url(services.settings.invitation_venue_url),
            },
            check_results=_verdict("guest_list_is_in_line", outcome.problems),
        )


@asset(
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
)
def klaviyo_template(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
    """The invitation mail, one template per version of its text, found or made by its versioned name."""
    with guarded():
        _sign(context)
        editions = {partition.edition for partition in services.ledger.known_events().values()}
        edition = services.settings.edition or max(editions)
        mail = services.mail(edition)
        with services.exclusive("klaviyo names"):
            template_id = ensure_template(services.klaviyo, services.ledger, services.pace, mail)
        return MaterializeResult(
            metadata={"name": mail.name, "template_id": template_id, "version": mail.version, "subject": mail.subject}
        )


@asset(
    deps=[gather_guestlist],
    partitions_def=kktix_events,
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
)
def klaviyo_list(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
    """The cumulative ticket-holder list of the event, for announcements. Who loses the ticket leaves it."""
    with guarded():
        partition = _begin(context, services)
        outcome = sync_ticket_holders(
            services.klaviyo,
            services.ledger,
            services.pace,
            lambda: services.exclusive("klaviyo names"),
            partition,
            _orders(services, partition).holders(services.pseudonymizer),
        )
        return MaterializeResult(
            metadata={
                "list": list_name(partition),
                "members": len(services.ledger.members_of(partition.key)),
                "added": outcome.added,
                "removed": outcome.removed,
                "refused_addresses": outcome.refused,
            }
        )


@asset(
    deps=[klaviyo_list, klaviyo_template],
    partitions_def=kktix_events,
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
    check_specs=_checked("klaviyo_campaign", "invitations_went_out", "No batch waits, was refused or was cancelled."),
)
def klaviyo_campaign(context: AssetExecutionContext, services: ResourceParam[Services]) -> MaterializeResult:
    """Newcomers who were let in get one invitation each: one campaign per batch, sent once, followed until it ended."""
    with guarded():
        partition = _begin(context, services)
        mail = services.mail(partition.edition)

        def template_id() -> str:
            with services.exclusive("klaviyo names"):
                return ensure_template(services.klaviyo, services.ledger, services.pace, mail)

        step = CampaignStep(
            services.klaviyo,
            services.ledger,
            services.pace,
            lambda: services.exclusive("klaviyo names"),
            services.sender,
            mail,
            template_id,
            _poll_id(context),
            services.settings.invitation_send_at,
            services.settings.invite_limit,
            _consents(context),
        )
        refuse_lost_ledger(services, partition.edition)
        with services.exclusive(f"invitations of {partition.key}"):
            outcome = step.run(partition, _orders(services, partition).holders(services.pseudonymizer))
        context.log_event(AssetMaterialization("klaviyo", description=f"In line with {partition.key}."))
        totals = services.ledger.invitation_counts(partition.key)
        return MaterializeResult(
            metadata={
                "invited": outcome.invited,
                "waiting": outcome.waiting,
                "unreachable": outcome.unreachable,
                "batches": outcome.batches,
                "invited_in_total": totals.get("accepted", 0),
                "unreachable_in_total": totals.get("unreachable", 0),
                "campaigns": ", ".join(outcome.campaign_ids) or "none",
                "notes": "; ".join(outcome.notes) or "none",
            },
            check_results=_verdict("invitations_went_out", outcome.problems),
        )


def attendee_table_assets() -> list[AssetsDefinition]:
    """One table per family, in the order of the families."""
    tables = attendee_tables(load_policy().columns)
    return [_attendee_table(family, tables[family]) for family in FAMILIES]
