"""The assets, top to bottom in flow order. Each is wiring: the stages decide and act, the ledger remembers.

No postponed annotations here: Dagster reads the types of ``context`` and of resources while it loads.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta

from dagster import (
    AssetCheckResult,
    AssetDep,
    AssetExecutionContext,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    DataVersion,
    FreshnessPolicy,
    IdentityPartitionMapping,
    MaterializeResult,
    MetadataValue,
    ResourceParam,
    asset,
)

from pycontw_assets.api.outlets import shorten
from pycontw_assets.api.request_counter import count_requests
from pycontw_assets.authorize.discord.discord_client import DiscordClient
from pycontw_assets.authorize.discord.roles import RoleRules
from pycontw_assets.authorize.gather_client import GatherClient
from pycontw_assets.deidentify.coverage import coverage_gaps, coverage_of, kept_in_all
from pycontw_assets.deidentify.holders import count_unmailable, holders_of
from pycontw_assets.deidentify.policy import load_policy
from pycontw_assets.extract.kktix_client import KktixClient
from pycontw_assets.extract.orders import BookReading, content_digest, count_states
from pycontw_assets.extract.waves import WaveSize
from pycontw_assets.ledger.batches import count_invitations
from pycontw_assets.ledger.database.tables import LET_IN
from pycontw_assets.ledger.discord.invites import count_without_link
from pycontw_assets.ledger.grants import holders_to_let_in
from pycontw_assets.ledger.guest_lists import count_lacking
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.lists import count_list_changes, count_members
from pycontw_assets.ledger.locks import LockName, process_identity
from pycontw_assets.ledger.polls import refuse_while_paused
from pycontw_assets.ledger.progress import headcount, invited_by, let_in
from pycontw_assets.ledger.remote_ids import remembered_id
from pycontw_assets.load.checks import WAYS_OUT, RefusedRows, doubled_keys
from pycontw_assets.load.schema import Table, attendee_tables
from pycontw_assets.load.warehouse import Warehouse
from pycontw_assets.orchestration.history.editions import editions_refreshed
from pycontw_assets.orchestration.links import Links, links_of
from pycontw_assets.orchestration.metadata import (
    checked,
    column_lineage,
    counted,
    markdown_links,
    order_columns,
    preview_of_orders,
    preview_of_rows,
    table_columns,
    verdict,
)
from pycontw_assets.orchestration.observations import family_events, kktix_events
from pycontw_assets.orchestration.reporting.daily_sales import sales_refreshed
from pycontw_assets.orchestration.run_history import OWNER_TAG, lock_of
from pycontw_assets.orchestration.run_recording import RunLock, as_failure, recorded_run
from pycontw_assets.orchestration.sensors import POLL_TAG
from pycontw_assets.orchestration.tables.views import record_views, view_assets
from pycontw_assets.pipeline.checks import (
    access_gaps,
    access_sum,
    book_gaps,
    guest_list_gaps,
    list_gaps,
    order_problems,
    unread_attendees,
    withheld_answers,
)
from pycontw_assets.pipeline.consistency.accounts import refuse_other_klaviyo_account
from pycontw_assets.pipeline.consistency.renaming import Renaming
from pycontw_assets.pipeline.discord.invites import sync_invites
from pycontw_assets.pipeline.dry_run import AccessDryRuns, would_do
from pycontw_assets.pipeline.rebuild import refuse_lost_ledger
from pycontw_assets.pipeline.reconcile import late_after, table_asset
from pycontw_assets.pipeline.steps import (
    RowsLoaded,
    UnknownPartition,
    assume_access,
    campaign_step,
    exclusive,
    guest_list_step,
    invitation,
    load_rows,
    partition_of,
    read_orders,
    recorded_edition,
    stored_orders,
    stored_records,
    sync_holder_list,
    table_rules,
    template_id_of,
    venue_url,
)
from pycontw_assets.pipeline.waiting_times import figures, seconds_from_payment
from pycontw_assets.pipeline.waves.serving import Served, WaveService
from pycontw_assets.pseudonyms import Pseudonymizer
from pycontw_assets.records import FAMILIES, EventPartition, Family, OrderSnapshot
from pycontw_assets.send_email.invitation.personal import PersonalLinks
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.names import ticket_holder_list
from pycontw_assets.send_email.wait_policy import WaitPolicy
from pycontw_assets.settings import Settings
from pycontw_assets.vault.vault import Vault

OVERRIDE_TAG = "pycontw/allow"
DRY_RUN = "dry_run"
IMPORTED = "imported"
OFF = "switched_off"
_RANGE_TAGS = {"dagster/asset_partition_range_start", "dagster/asset_partition_range_end"}
_ONE_EVENT = (
    "a run is about one event, and this one has a range of partitions, or none: nothing was read. Launch one run for "
    "each partition; in the UI that is `Multiple runs (One per selected partition)`"
)
OWNERS = ["team:pycontw-registration"]


def kktix(links: Links, interval_seconds: int) -> AssetSpec:
    late = late_after(interval_seconds)
    return AssetSpec(
        "kktix",
        group_name="extract",
        kinds={"kktix"},
        owners=OWNERS,
        tags={"external_system": ""},
        description="The ticket shop. Every tick observes which events it lists. Events that are left alone are shown "
        "with the reason. When it is not fresh, nobody polls or KKTIX does not answer.",
        freshness_policy=FreshnessPolicy.time_window(fail_window=2 * late, warn_window=late),
        metadata={"site": MetadataValue.url(links.kktix)},
    )


gather_town = AssetSpec(
    "gather_town",
    group_name="authorize",
    kinds={"gather"},
    owners=OWNERS,
    tags={"external_system": ""},
    deps=["gather_guestlist"],
    description="The virtual venue: everybody on its guest list may enter.",
    metadata={"site": MetadataValue.url("https://gather.town")},
)
klaviyo = AssetSpec(
    "klaviyo",
    group_name="send_email",
    kinds={"klaviyo"},
    owners=OWNERS,
    tags={"external_system": ""},
    deps=["klaviyo_campaign"],
    description="The mail service: it sends the campaigns, and counts opens and clicks.",
    metadata={"site": MetadataValue.url("https://www.klaviyo.com")},
)


def _hold(context: AssetExecutionContext, run_lock: RunLock, partition_key: str = "") -> None:
    """Hold the run's lock, and name the process that does the work: when it dies, the next tick knows at once."""
    context.instance.add_run_tags(context.run_id, {OWNER_TAG: process_identity()})
    run_lock.hold(lock_of(context.asset_key.to_user_string()), partition_key)


def _begin(context: AssetExecutionContext, ledger: Ledger, run_lock: RunLock) -> EventPartition:
    """Hold the run's lock on the event, and return the event."""
    partition = partition_of(ledger, context.partition_key)
    _hold(context, run_lock, partition.key)
    return partition


def _recorded(context: AssetExecutionContext, ledger: Ledger, settings: Settings) -> AbstractContextManager[list[str]]:
    _refuse_other_than_one_event(context)
    partition_key = context.partition_key if context.has_partition_key else ""
    return recorded_run(partition_key, context.asset_key.to_user_string(), ledger=ledger, settings=settings)


def _refuse_other_than_one_event(context: AssetExecutionContext) -> None:
    """Refuse a run over a range of partitions: only the tag of one event makes limits and ticks see such a run."""
    if context.run.tags.keys() & _RANGE_TAGS or (context.assets_def.partitions_def and not context.has_partition_key):
        raise as_failure(UnknownPartition(_ONE_EVENT))


def _poll_id(context: AssetExecutionContext) -> str:
    return str(context.run_tags.get(POLL_TAG, context.run_id))


def _overrides(context: AssetExecutionContext) -> frozenset[str]:
    return frozenset(filter(None, context.run_tags.get(OVERRIDE_TAG, "").split(",")))


ORDER_CHECKS = {
    "orders_were_read_whole": "Books were whole, and hardly anybody is quarantined.",
    "every_attendee_was_read": "Nobody is quarantined, and no answer of a form was withheld.",
    "orders_match_the_book": "Who is in KKTIX's attendance book is in the vault, and the other way round.",
}


@asset(
    deps=["kktix"],
    partitions_def=kktix_events,
    group_name="extract",
    kinds={"python", "kktix"},
    owners=OWNERS,
    tags={"personal_data": "vault"},
    check_specs=checked("raw_kktix_orders", ORDER_CHECKS, partitions_def=kktix_events),
    metadata={"dagster/column_schema": order_columns(load_policy())},
)
def raw_kktix_orders(
    context: AssetExecutionContext,
    kktix: ResourceParam[KktixClient],
    gather: ResourceParam[GatherClient | None],
    discord: ResourceParam[DiscordClient | None],
    discord_roles: ResourceParam[RoleRules | None],
    klaviyo: ResourceParam[KlaviyoClient | None],
    personal_links: ResourceParam[PersonalLinks],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    pseudonymizer: ResourceParam[Pseudonymizer],
    waits: ResourceParam[WaitPolicy],
    wave_size: ResourceParam[WaveSize],
    settings: ResourceParam[Settings],
    books: ResourceParam[dict[int, BookReading]],
    run_lock: ResourceParam[RunLock],
) -> MaterializeResult:
    """Every attendee of one KKTIX event as last read, encrypted in the vault.

    New attendees are read at once, unpaid ones and those that mail cannot reach by every poll, the others in rotation.
    An attendee that left the attendance book is "gone" after two good polls, unless KKTIX calls it paid. A broken book
    withdraws nobody. In a rush, the buyers read so far are let in and invited in waves, while the others are read; the
    assets below count the rest. The partition of an import shows the orders of an exported file, and nothing is read
    for it.
    """
    with _recorded(context, ledger, settings) as findings:
        partition, requests = _begin(context, ledger, run_lock), count_requests(kktix)
        if partition.is_imported:
            return _stored_import(stored_orders(vault, ledger, partition), pseudonymizer)
        waves = WaveService(
            partition=partition,
            gather=gather,
            discord=discord,
            discord_roles=discord_roles,
            klaviyo=klaviyo,
            personal_links=personal_links,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
            poll_id=_poll_id(context),
            overrides=_overrides(context),
        )
        read = read_orders(
            partition,
            kktix=kktix,
            vault=vault,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            refresh=timedelta(seconds=settings.refresh_seconds),
            overrides=_overrides(context),
            book=books.get(partition.event_id),
            serve=None if settings.pycontw_dry_run else waves.serve,
            wave_size=wave_size,
        )
        outcome, snapshot = read.outcome, read.outcome.snapshot
        problems = [*order_problems(snapshot, outcome.problem), *outcome.kept]
        gaps, unread = book_gaps(snapshot, outcome.book), unread_attendees(snapshot)
        findings += [*problems, *gaps, *unread]
        return MaterializeResult(
            data_version=DataVersion(read.digest[:16]),
            metadata={
                **_order_counts(snapshot, outcome.new, outcome.reread),
                **_wave_counts(waves.served),
                "requests": requests(),
                "kktix_page": MetadataValue.url(links_of(settings).kktix),
                "newest": preview_of_orders(snapshot),
            },
            check_results=[
                verdict("orders_were_read_whole", problems),
                verdict("every_attendee_was_read", [*unread, *withheld_answers(snapshot)], is_warning=True),
                verdict("orders_match_the_book", [] if outcome.problem else gaps),
            ],
        )


def _wave_counts(served: Served) -> dict[str, int | float]:
    """Count what waves did, if there were any."""
    if not served.waves:
        return {}
    return {
        "waves": served.waves,
        "waves_let_in": served.let_in,
        "waves_invited": served.invited,
        **figures("seconds_from_payment_to_access", served.seconds_to_access),
        **figures("seconds_from_payment_to_invitation", served.seconds_to_invitation),
    }


def _stored_import(snapshot: OrderSnapshot, pseudonymizer: Pseudonymizer) -> MaterializeResult:
    """Show the orders of an import as they are in the vault. KKTIX is not asked: `import-csv` put them there."""
    digest = content_digest(snapshot, table_rules(pseudonymizer))
    return MaterializeResult(
        data_version=DataVersion(digest[:16]),
        metadata={IMPORTED: True, **_order_counts(snapshot, 0, 0), "newest": preview_of_orders(snapshot)},
        check_results=[verdict(name, []) for name in ORDER_CHECKS],
    )


def _nobody_concerned(checks: Iterable[str]) -> MaterializeResult:
    """Show for an import that nobody is let in or mailed because of it. No service is asked."""
    return MaterializeResult(metadata={IMPORTED: True}, check_results=[verdict(name, []) for name in checks])


def _switched_off(checks: Iterable[str]) -> MaterializeResult:
    """Show that the settings switch this step off. Polls leave the asset out; a person may ask for it."""
    return MaterializeResult(metadata={OFF: True}, check_results=[verdict(name, []) for name in checks])


def _order_counts(snapshot: OrderSnapshot, new: int, reread: int) -> dict[str, int]:
    return {
        "attendees": len(snapshot.present),
        **{state.replace(" ", "_"): number for state, number in count_states(snapshot).items()},
        "new": new,
        "reread": reread,
        "quarantined": len(snapshot.quarantine),
        "withheld_answers": sum(record.attendee.withheld for record in snapshot.present),
        "tickets_without_usable_address": count_unmailable(snapshot),
    }


TABLE_CHECKS = {
    "keys_are_unique": "One row per event and attendee.",
    "holds_no_personal_data": "No value in clear looks like an address, a phone or a national id. "
    "A table is not written while one does.",
    "digests_have_their_shape": "Every hashed column holds 64 hexadecimal digits or nothing. A table is not written "
    "while one does not.",
    "rows_match_the_orders": "The table holds as many rows of the event as the vault holds attendees.",
    "questions_are_known": "Every question and answer has a rule in deidentify/policy.yaml; others are hashed.",
    "answers_are_kept": "Of the answers to each question that is kept, ANSWERS_KEPT_PERCENT are kept whole.",
}


def _attendee_table(family: Family, table: Table, links: Links) -> AssetsDefinition:
    @asset(
        name=table_asset(family),
        deps=[AssetDep(raw_kktix_orders, partition_mapping=IdentityPartitionMapping())],
        partitions_def=family_events[family],
        group_name="load",
        kinds={links.warehouse, "table"},
        owners=OWNERS,
        tags={"personal_data": "pseudonyms"},
        check_specs=checked(table_asset(family), TABLE_CHECKS, partitions_def=family_events[family], blocking=WAYS_OUT),
        metadata={
            "dagster/table_name": links.table_name(table.name),
            "table": links.table(table.name),
            "dagster/column_schema": table_columns(table),
            "dagster/column_lineage": column_lineage(table, raw_kktix_orders.key),
            "partition_expr": "partition_key",
        },
        description=f"One row per {family} attendee, de-identified by deidentify/policy.yaml. Cancelled attendees "
        "stay, flagged. An event's rows are replaced all at once.",
    )
    def attendees(
        context: AssetExecutionContext,
        vault: ResourceParam[Vault],
        warehouse: ResourceParam[Warehouse],
        ledger: ResourceParam[Ledger],
        pseudonymizer: ResourceParam[Pseudonymizer],
        waits: ResourceParam[WaitPolicy],
        settings: ResourceParam[Settings],
        run_lock: ResourceParam[RunLock],
    ) -> Iterator[AssetCheckResult | MaterializeResult]:
        with _recorded(context, ledger, settings) as findings:
            partition = _begin(context, ledger, run_lock)
            with warehouse.kept_open():
                try:
                    loaded = load_rows(
                        partition,
                        stored_records(vault, ledger, partition),
                        warehouse=warehouse,
                        ledger=ledger,
                        pseudonymizer=pseudonymizer,
                    )
                except RefusedRows as refused:
                    yield verdict(refused.check, refused.problems)  # the run fails, and the check shows why
                    raise
                Renaming(
                    vault=vault,
                    warehouse=warehouse,
                    ledger=ledger,
                    pseudonymizer=pseudonymizer,
                    waits=waits,
                    settings=settings,
                ).clear_other_keys(partition)
                for event in editions_refreshed(warehouse) if loaded.people == "written" else ():
                    context.log_event(event)
                if loaded.sales == "written":
                    context.log_event(sales_refreshed(warehouse, partition, settings.opening_days, ledger.clock()))
                findings += record_views(context, warehouse, settings).problems
            result = loaded.result
            yield MaterializeResult(
                metadata={
                    "dagster/partition_row_count": len(result.frame),
                    "outcome": loaded.outcome,
                    "policy_version": load_policy().version,
                    "unknown_questions": counted(result.unknown_questions, "question"),
                    "unlisted_answers": counted(result.unlisted_answers, "column"),
                    "repeated_answers": counted(result.repeated_answers, "column"),
                    "newest": preview_of_rows(result.frame),
                },
                check_results=_table_verdicts(loaded, settings.answers_kept_percent),
            )

    return attendees


def _table_verdicts(loaded: RowsLoaded, least_percent: float) -> list[AssetCheckResult]:
    """Return the verdicts of ``TABLE_CHECKS``. The table was written, so nothing in it was refused."""
    result, stored, expected = loaded.result, loaded.stored, loaded.attendees
    coverage = coverage_of(load_policy(), result.answered, result.unlisted_answers, result.unknown_questions)
    unknown = [f"{count} answers to a question no rule names" for count in result.unknown_questions.values()]
    unlisted = [f"{column}: {count} answers outside its choices" for column, count in result.unlisted_answers.items()]
    return [
        verdict("keys_are_unique", doubled_keys(result.frame)),
        *(verdict(check, []) for check in WAYS_OUT),
        verdict("rows_match_the_orders", [] if stored == expected else [f"{stored} rows, {expected} attendees"]),
        verdict("questions_are_known", [*unknown, *unlisted], is_warning=True),
        verdict(
            "answers_are_kept", coverage_gaps(coverage, least_percent), is_warning=True, said=kept_in_all(coverage)
        ),
    ]


def _dry_run(
    context: AssetExecutionContext,
    partition: EventPartition,
    checks: Iterable[str],
    *,
    dry_runs: AccessDryRuns,
    findings: list[str] | None = None,
) -> MaterializeResult:
    """Show what the access chain would do for the event, on each of its assets. Nobody outside notices.

    The first of the asset's checks shows what would be a problem, where the asset reports it (``findings``).
    """
    planned = dry_runs.plan(partition, poll_id=_poll_id(context), overrides=_overrides(context))
    metadata = {DRY_RUN: True, **would_do(planned)}
    problems = planned.problems if findings is not None else ()
    if findings is not None:
        findings += problems
    first, *others = checks
    return MaterializeResult(
        metadata=metadata, check_results=[verdict(first, problems), *(verdict(other, []) for other in others)]
    )


GUEST_LIST_CHECKS = {
    "guest_list_is_in_line": "Nothing was refused, every guest was confirmed.",
    "guest_list_holds_everybody_let_in": "Whoever the ledger says we let in was on the list when it was read last.",
}


@asset(
    deps=[raw_kktix_orders],
    partitions_def=kktix_events,
    group_name="authorize",
    kinds={"python", "gather"},
    owners=OWNERS,
    check_specs=checked("gather_guestlist", GUEST_LIST_CHECKS, partitions_def=kktix_events),
)
def gather_guestlist(
    context: AssetExecutionContext,
    gather: ResourceParam[GatherClient | None],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    pseudonymizer: ResourceParam[Pseudonymizer],
    waits: ResourceParam[WaitPolicy],
    settings: ResourceParam[Settings],
    run_lock: ResourceParam[RunLock],
    dry_runs: ResourceParam[AccessDryRuns],
) -> MaterializeResult:
    """All holders of a usable ticket are on the Gather guest list, as a read of the list has shown. Refunded guests
    are removed.

    Only guests whom this pipeline added are ever removed, and only when the list looks whole. KKTIX gives no time of
    payment: seconds from payment count from the attendee's `updated_at`, or from the poll that saw the payment.
    """
    with _recorded(context, ledger, settings) as findings:
        partition, requests = _begin(context, ledger, run_lock), count_requests(gather)
        if partition.is_imported:
            return _nobody_concerned(GUEST_LIST_CHECKS)
        if gather is None:
            return _switched_off(GUEST_LIST_CHECKS)
        if settings.pycontw_dry_run:
            return _dry_run(context, partition, GUEST_LIST_CHECKS, dry_runs=dry_runs, findings=findings)
        step = guest_list_step(
            gather=gather,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            revoke_limit=settings.revoke_limit,
            poll_id=_poll_id(context),
            overrides=_overrides(context),
        )
        snapshot = stored_orders(vault, ledger, partition)
        outside = holders_to_let_in(ledger, partition.key, partition.edition, done=LET_IN)
        outcome = step.run(partition, holders_of(snapshot, pseudonymizer))
        entered = let_in(ledger, partition.edition, outside)
        gaps = guest_list_gaps(count_lacking(ledger))
        findings += [*outcome.lasting, *outcome.hints]
        context.log_event(AssetMaterialization("gather_town", description=f"In line with {partition.key}."))
        return MaterializeResult(
            metadata={
                "granted": outcome.granted,
                "on_the_list_before_us": outcome.preexisting,
                "revoked": outcome.revoked,
                "unconfirmed": outcome.unconfirmed,
                "revocations_waiting": outcome.waiting_revocations,
                **({"without_a_place": outcome.without_place} if outcome.without_place else {}),
                "requests": requests(),
                **figures("seconds_from_payment_to_access", seconds_from_payment(entered, snapshot, pseudonymizer)),
                "venue": MetadataValue.url(venue_url(settings)),
            },
            check_results=[
                verdict("guest_list_is_in_line", outcome.problems),
                verdict("guest_list_holds_everybody_let_in", gaps, is_warning=True),
            ],
        )


INVITE_CHECKS = {"invites_are_in_line": "Every holder has an invite or used it, and nobody without a ticket has one."}


@asset(
    deps=[raw_kktix_orders, gather_guestlist],  # an invite ends once its holder has left the guest list
    partitions_def=kktix_events,
    group_name="authorize",
    kinds={"python", "discord"},
    owners=OWNERS,
    check_specs=checked("discord_invites", INVITE_CHECKS, partitions_def=kktix_events),
)
def discord_invites(
    context: AssetExecutionContext,
    discord: ResourceParam[DiscordClient | None],
    discord_roles: ResourceParam[RoleRules | None],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    pseudonymizer: ResourceParam[Pseudonymizer],
    waits: ResourceParam[WaitPolicy],
    settings: ResourceParam[Settings],
    run_lock: ResourceParam[RunLock],
    dry_runs: ResourceParam[AccessDryRuns],
) -> MaterializeResult:
    """All holders of a usable ticket have an invite of their own to the Discord guild, or used it; it grants the role
    of their ticket. Unused invites of refunded holders are deleted, and members who are known lose the role.

    Only where `VENUES` names Discord. Mail waits for the invite.
    """
    with _recorded(context, ledger, settings) as findings:
        partition, requests = _begin(context, ledger, run_lock), count_requests(discord)
        if partition.is_imported:
            return _nobody_concerned(INVITE_CHECKS)
        if discord is None or discord_roles is None:
            return _switched_off(INVITE_CHECKS)
        if settings.pycontw_dry_run:
            return _dry_run(context, partition, INVITE_CHECKS, dry_runs=dry_runs)
        if settings.gather_is_off:
            assume_access(
                partition,
                vault=vault,
                ledger=ledger,
                pseudonymizer=pseudonymizer,
                waits=waits,
                poll_id=_poll_id(context),
            )
        snapshot = stored_orders(vault, ledger, partition)
        outcome = sync_invites(
            partition,
            snapshot,
            holders_of(snapshot, pseudonymizer),
            discord=discord,
            discord_roles=discord_roles,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
        )
        findings += [*outcome.problems, *outcome.hints]
        return MaterializeResult(
            metadata={
                "made": outcome.made,
                "deleted": outcome.deleted,
                "roles_removed": outcome.roles_removed,
                "waiting": outcome.waiting,
                "requests": requests(),
            },
            check_results=[verdict("invites_are_in_line", outcome.problems)],
        )


@asset(
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
)
def klaviyo_template(
    context: AssetExecutionContext,
    klaviyo: ResourceParam[KlaviyoClient | None],
    ledger: ResourceParam[Ledger],
    waits: ResourceParam[WaitPolicy],
    settings: ResourceParam[Settings],
    run_lock: ResourceParam[RunLock],
) -> MaterializeResult:
    """The invitation mail: one template per version of its text, found or made by its versioned name."""
    with _recorded(context, ledger, settings):
        _hold(context, run_lock)
        edition = recorded_edition(ledger, settings)
        if edition is None:
            raise UnknownPartition("no event is known yet, so no edition is live; the next poll registers events")
        mail = invitation(edition, settings)
        if settings.pycontw_dry_run:
            return MaterializeResult(metadata={DRY_RUN: True, "name": mail.name, "version": mail.version})
        if klaviyo is None:
            return _switched_off(())
        requests = count_requests(klaviyo)
        refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
        template_id = template_id_of(mail, klaviyo=klaviyo, ledger=ledger, waits=waits)
        return MaterializeResult(
            metadata={
                "name": mail.name,
                "template_id": shorten(template_id),
                "version": mail.version,
                "subject": mail.subject,
                "requests": requests(),
                "template_page": MetadataValue.url(links_of(settings).template(template_id)),
            }
        )


LIST_CHECKS = {"list_matches_the_holders": "Every holder is on the list or was refused by Klaviyo, and nobody else is."}


@asset(
    # Where the guest list is switched off, this follows upon the orders.
    deps=[raw_kktix_orders, gather_guestlist, discord_invites],
    partitions_def=kktix_events,
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
    check_specs=checked("klaviyo_list", LIST_CHECKS, partitions_def=kktix_events),
)
def klaviyo_list(
    context: AssetExecutionContext,
    klaviyo: ResourceParam[KlaviyoClient | None],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    pseudonymizer: ResourceParam[Pseudonymizer],
    waits: ResourceParam[WaitPolicy],
    settings: ResourceParam[Settings],
    personal_links: ResourceParam[PersonalLinks],
    run_lock: ResourceParam[RunLock],
    dry_runs: ResourceParam[AccessDryRuns],
) -> MaterializeResult:
    """The cumulative ticket-holder list of the event, for announcements. Holders who lose the ticket leave it."""
    with _recorded(context, ledger, settings):
        partition, requests = _begin(context, ledger, run_lock), count_requests(klaviyo)
        if partition.is_imported:
            return _nobody_concerned(LIST_CHECKS)
        if klaviyo is None:
            return _switched_off(LIST_CHECKS)
        if settings.pycontw_dry_run:
            return _dry_run(context, partition, LIST_CHECKS, dry_runs=dry_runs)
        refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
        if settings.gather_is_off:
            assume_access(
                partition,
                vault=vault,
                ledger=ledger,
                pseudonymizer=pseudonymizer,
                waits=waits,
                poll_id=_poll_id(context),
            )
        outcome = sync_holder_list(
            partition,
            klaviyo=klaviyo,
            vault=vault,
            ledger=ledger,
            pseudonymizer=pseudonymizer,
            waits=waits,
            settings=settings,
            personal_links=personal_links,
        )
        name = ticket_holder_list(partition)
        return MaterializeResult(
            metadata={
                "list": name,
                "members": count_members(ledger, partition.key),
                "added": outcome.added,
                "removed": outcome.removed,
                "refused_addresses": outcome.refused,
                "requests": requests(),
                "list_page": MetadataValue.url(links_of(settings).mailing_list(remembered_id(ledger, "list", name))),
            },
            check_results=[
                verdict(
                    "list_matches_the_holders", list_gaps(count_list_changes(ledger, partition.key)), is_warning=True
                )
            ],
        )


CAMPAIGN_CHECKS = {
    "invitations_went_out": "No batch waits, was refused or was cancelled.",
    "everybody_entitled_is_accounted_for": "Entitled people are let in or about to be; those who are in are invited, "
    "unreachable, or wait for a reason.",
}


@asset(
    deps=[klaviyo_list, klaviyo_template],
    partitions_def=kktix_events,
    group_name="send_email",
    kinds={"python", "klaviyo"},
    owners=OWNERS,
    check_specs=checked("klaviyo_campaign", CAMPAIGN_CHECKS, partitions_def=kktix_events),
)
def klaviyo_campaign(
    context: AssetExecutionContext,
    klaviyo: ResourceParam[KlaviyoClient | None],
    vault: ResourceParam[Vault],
    ledger: ResourceParam[Ledger],
    pseudonymizer: ResourceParam[Pseudonymizer],
    waits: ResourceParam[WaitPolicy],
    settings: ResourceParam[Settings],
    personal_links: ResourceParam[PersonalLinks],
    run_lock: ResourceParam[RunLock],
    dry_runs: ResourceParam[AccessDryRuns],
) -> MaterializeResult:
    """People who were let in get one invitation each. By campaign: one per batch, sent once, and followed until it
    ended. By event (`INVITE_VIA=event`): one event per person, which starts a flow; hourly, its mails are looked for.

    Seconds from payment end when Klaviyo accepts the sending or the event, and begin as those of `gather_guestlist`.
    """
    with _recorded(context, ledger, settings) as findings:
        partition, requests = _begin(context, ledger, run_lock), count_requests(klaviyo)
        if partition.is_imported:
            return _nobody_concerned(CAMPAIGN_CHECKS)
        if klaviyo is None:
            return _switched_off(CAMPAIGN_CHECKS)
        if settings.pycontw_dry_run:
            return _dry_run(context, partition, CAMPAIGN_CHECKS, dry_runs=dry_runs, findings=findings)
        step = campaign_step(
            partition,
            klaviyo=klaviyo,
            ledger=ledger,
            waits=waits,
            settings=settings,
            poll_id=_poll_id(context),
            overrides=_overrides(context),
            personal_links=personal_links,
        )
        refuse_other_klaviyo_account(klaviyo=klaviyo, ledger=ledger, settings=settings)
        refuse_lost_ledger(partition.edition, klaviyo=klaviyo, ledger=ledger)
        snapshot = stored_orders(vault, ledger, partition)
        with exclusive(ledger, waits, LockName.INVITATIONS, partition.key):
            refuse_while_paused(ledger)  # a person may have paused polls while this run waited
            partition_of(ledger, partition.key)  # it may have been renamed meanwhile
            begun_at = ledger.clock()
            outcome = step.run(partition, holders_of(snapshot, pseudonymizer))
        problems = outcome.problems
        count = headcount(ledger, partition.key, partition.edition, begun_at)
        linkless = 0 if settings.discord_is_off else count_without_link(ledger, partition.key, partition.edition)
        gaps = access_gaps(count, outcome.waiting + linkless)
        findings += [*problems, *gaps]
        context.log_event(AssetMaterialization("klaviyo", description=f"In line with {partition.key}."))
        totals = count_invitations(ledger, partition.key)
        invited = invited_by(ledger, outcome.batch_keys) if outcome.batch_keys else []
        waited = seconds_from_payment(invited, snapshot, pseudonymizer)
        return MaterializeResult(
            metadata={
                "invited": outcome.invited,
                "waiting": outcome.waiting,
                "unreachable": outcome.unreachable,
                "batches": outcome.batches,
                "invited_in_total": totals.get("accepted", 0),
                "unreachable_in_total": totals.get("unreachable", 0),
                "requests": requests(),
                **figures("seconds_from_payment_to_invitation", waited),
                "campaigns": markdown_links(
                    (campaign_id, links_of(settings).campaign(campaign_id)) for campaign_id in outcome.campaign_ids
                ),
                "notes": "; ".join(outcome.notes) or "none",
            },
            check_results=[
                verdict("invitations_went_out", problems),
                verdict("everybody_entitled_is_accounted_for", gaps, said=access_sum(count)),
            ],
        )


def attendee_table_assets(links: Links) -> list[AssetsDefinition | AssetSpec]:
    """One table per family, in the order of the families, then the views of them."""
    tables = attendee_tables(load_policy().columns)
    filled = [_attendee_table(family, tables[family], links) for family in FAMILIES]
    return [*filled, *view_assets(tables, links, OWNERS)]
