"""Send an invitation once more by an event of the person, with an id of its own: the flow answers each id once."""

from __future__ import annotations

from pycontw_assets.api.client import ServiceError
from pycontw_assets.ledger.grants import grants_of
from pycontw_assets.ledger.ledger import Ledger
from pycontw_assets.ledger.resending.repeats import Repeat, note_handed_over, record_repeat
from pycontw_assets.pipeline.resending.reachable import refuse_unreachable
from pycontw_assets.pipeline.resending.resend import NotResent, Resent, Ticket
from pycontw_assets.pipeline.steps import links_in_mail
from pycontw_assets.send_email.by_event.events_client import EventsClient
from pycontw_assets.send_email.by_event.flow_state import flow_state
from pycontw_assets.send_email.by_event.invitation_event import event_properties, repeated_event_id
from pycontw_assets.send_email.invitation.personal import PersonalLinks, no_links
from pycontw_assets.send_email.klaviyo_client import KlaviyoClient
from pycontw_assets.send_email.names import INVITATION_METRIC
from pycontw_assets.settings import Settings


def send_by_event(
    repeat: Repeat, ticket: Ticket, *, klaviyo: KlaviyoClient, ledger: Ledger, settings: Settings,
    personal_links: PersonalLinks = no_links,
) -> Resent:  # fmt: skip
    """Hand the repeat over as an event. In doubt the command goes on with the same event, which counts once.

    Raise ``NotResent`` where no mail would come of it: nobody is reached, no flow is live, or its time has not come.
    """
    send_at = settings.invitation_send_at
    if send_at is not None and send_at > ledger.clock():
        raise NotResent(f"INVITATION_SEND_AT holds invitations back until {send_at:%Y-%m-%d %H:%M} UTC")
    refuse_unreachable(ticket, klaviyo=klaviyo, ledger=ledger, settings=settings)
    events = EventsClient(klaviyo)
    _refuse_without_flow(events)
    discord_url = personal_links(repeat.edition, [repeat.address_key]).get(repeat.address_key)
    record_repeat(ledger, repeat)
    try:
        events.create_event(
            ticket.holder.spelled,
            metric=INVITATION_METRIC,
            event_id=repeated_event_id(repeat.edition, repeat.address_key, ticket.period, repeat.repeat_id),
            properties=event_properties(
                repeat.edition,
                ticket.partition.family,
                period=ticket.period,
                batch_key=repeat.repeat_id,
                links=links_in_mail(settings, _space_of(repeat, ledger)),
                discord_url=discord_url,
            ),
        )
    except ServiceError as error:
        again = "run the command again: it hands over the same event, which counts once"
        return Resent(False, f"it is recorded, and Klaviyo did not say that it took it ({error}); {again}")
    note_handed_over(ledger, repeat.repeat_id)
    return Resent(True, "Klaviyo took the event over, and its flow sends the mail")


def _space_of(repeat: Repeat, ledger: Ledger) -> str | None:
    grant = grants_of(ledger, repeat.edition, [repeat.address_key]).get(repeat.address_key)
    return grant.space_digest if grant else None


def _refuse_without_flow(events: EventsClient) -> None:
    try:
        problem = flow_state(events.metrics()).problem
    except ServiceError as error:
        raise NotResent(f"{error}. Nothing was changed; try again later") from None
    if problem:
        raise NotResent(problem)
