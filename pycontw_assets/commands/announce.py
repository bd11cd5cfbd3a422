"""``announce``: send one letter to everybody who holds a ticket of the live edition, once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pycontw_assets.commands.exits import FAILED, FINE, Commands
from pycontw_assets.commands.instance import ANYWHERE, compose_checked, compose_to_read
from pycontw_assets.ledger.letters.letters import Letter, letters_of
from pycontw_assets.ledger.locks import Busy
from pycontw_assets.pipeline.letters.announcing import Announcing, NotAnnounced, Plan
from pycontw_assets.pipeline.letters.following import describe_problem
from pycontw_assets.records import FAMILIES, Family
from pycontw_assets.sandbox.klaviyo.rendering import render
from pycontw_assets.send_email.invitation.template import InvitationError
from pycontw_assets.send_email.letters.letter import RenderedLetter, render_letter
from pycontw_assets.settings import InvalidSettings, Settings

_READER = {"email": "ticket.holder@example.org"}
_FIRST_WORDS = 160  # characters


def add_to(commands: Commands) -> None:
    """Register the command."""
    announce = commands.add_parser(
        "announce",
        help="send one letter to everybody who holds a ticket, once",
        description="Send one letter to everybody who holds a ticket of the live edition. It shows the letter and how "
        "many people get it, and asks for that number. Nobody gets the same letter twice: after a crash the same "
        "command goes on with it. docs/letters.md explains the file.",
        epilog="Exit 0: the mail service took it over, or it waits for its time. 1: it was refused, or is not sent "
        "yet; the reason is printed. 2: the file or the configuration is wrong.",
    )
    announce.add_argument("subject", metavar="SUBJECT", nargs="?", help="subject of the mail")
    announce.add_argument(
        "file", metavar="FILE.html", nargs="?", type=Path, help="the letter's page, like the invitation's"
    )
    announce.add_argument(
        "--family",
        action="append",
        choices=FAMILIES,
        help="only holders of tickets of this family; may be given more than once",
    )
    announce.add_argument(
        "--at", metavar="TIME", help="ISO time with zone, for example 2031-09-01T09:00:00+08:00; unset: at once"
    )
    announce.add_argument("--yes", action="store_true", help="do not ask for the number of people")
    announce.add_argument("--status", action="store_true", help="list the letters and how far each came; send nothing")
    announce.add_argument("--cancel", metavar="KEY", help="withdraw a letter that is not sent")
    announce.set_defaults(run=_run)


def _run(parsed: argparse.Namespace) -> int:
    if parsed.status:
        return _show_letters()
    if parsed.cancel is None and (parsed.subject is None or parsed.file is None):
        raise InvalidSettings("announce: needs SUBJECT and FILE.html, or --status, or --cancel KEY")
    send_at = read_time(parsed.at) if parsed.at else None
    root = compose_checked(used_in=ANYWHERE)
    announcing = Announcing(
        klaviyo=root.mail_service, vault=root.vault, ledger=root.ledger, waits=root.waits, settings=root.settings
    )
    try:
        if parsed.cancel is not None:
            announcing.withdraw(parsed.cancel)
            print(f"letter {parsed.cancel} is withdrawn; nobody gets it")
            return FINE
        families: Sequence[Family] = sorted(set(parsed.family or FAMILIES))
        if send_at is not None and send_at <= root.clock():
            raise InvalidSettings("--at: has passed; leave it out to send at once")
        rendered = read_letter(parsed.subject, parsed.file, announcing.edition(), root.settings)
        plan = announcing.plan(rendered, families)
        page = _keep(rendered, root.settings.home)
        print("\n".join(describe_plan(rendered, plan, families, send_at=send_at, page=page, now=root.clock())))
        if not parsed.yes and not _is_confirmed(plan.people):
            print("nothing was changed")
            return FAILED
        letter, notes = announcing.run(rendered, families, send_at)
    except (NotAnnounced, Busy) as refused:
        print(f"not sent: {refused}")
        return FAILED
    print("\n".join([describe_letter(letter, root.clock()), *notes]))
    return FINE if letter.state in ("ready", "accepted", "sent") else FAILED


def read_time(text: str) -> datetime:
    """Return a time given by a person, in UTC. It needs a zone, as INVITATION_SEND_AT does."""
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidSettings("--at: needs an ISO time with a zone, for example 2031-09-01T09:00:00+08:00")
    return moment.astimezone(timezone.utc)


def read_letter(subject: str, file: Path, edition: str, settings: Settings) -> RenderedLetter:
    """Return the checked letter of a file. Raise ``InvalidSettings`` for one that cannot be read or is wrong."""
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSettings(f"FILE.html: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InvalidSettings("FILE.html: is not written in UTF-8") from None
    try:
        return render_letter(
            edition,
            subject=subject,
            source=source,
            file="FILE.html",
            venue_url=settings.invitation_venue_url,
            video_url=settings.video_url,
        )
    except InvitationError as error:
        raise InvalidSettings(str(error)) from None


def describe_plan(
    rendered: RenderedLetter,
    plan: Plan,
    families: Sequence[Family],
    *,
    send_at: datetime | None,
    page: Path,
    now: datetime,
) -> Iterator[str]:
    """Yield the lines of the preview. They name nobody."""
    words = " ".join(rendered.mail.text.split())
    yield f"letter {rendered.key} of edition {plan.edition}"
    yield f"to       {plan.people} people: holders of {', '.join(families)} tickets ({plan.events} events)"
    yield f"subject  {rendered.mail.subject}"
    yield f"text     {words[:_FIRST_WORDS]}{'…' if len(words) > _FIRST_WORDS else ''}"
    yield f"kept in  {page}"
    yield f"leaves   {f'with the first poll after {send_at:%Y-%m-%d %H:%M} UTC' if send_at else 'at once'}"
    if plan.polled_at is not None:
        minutes = (now - plan.polled_at).total_seconds() / 60
        yield f"lists    of the last poll, {minutes:.0f} minutes ago at the most; `pycontw-assets poll` renews them"
    if rendered.missing:
        yield f"!        no part is marked as lang={' or '.join(rendered.missing)}: is it in both languages?"
    if plan.begun is not None and plan.begun.state in ("begun", "ready"):
        yield "!        it was begun before; this goes on with it"
    for letter in plan.earlier[-3:]:
        yield f"earlier  {describe_letter(letter, now)}"


def describe_letter(letter: Letter, now: datetime) -> str:
    """Return the line about one letter."""
    people = f", {letter.people} people" if letter.people is not None else ""
    at = f", due at {letter.send_at:%Y-%m-%d %H:%M} UTC" if letter.state == "ready" and letter.send_at else ""
    left = f" on {letter.accepted_at:%Y-%m-%d %H:%M} UTC" if letter.accepted_at else ""
    states = {
        "begun": "begun, not sent",
        "ready": "waits for its time",
        "accepted": f"taken over by Klaviyo{left}",
        "sent": f"sent{left}",
        "cancelled": f"ended as {letter.remote_status}",
        "withdrawn": "withdrawn, not sent",
    }
    problem = describe_problem(letter, now)
    return f"letter {letter.letter_key} ({letter.families}{people}{at}): {states[letter.state]}" + (
        f"\n       ! {problem}" if problem else ""
    )


def _show_letters() -> int:
    root = compose_to_read(used_in=ANYWHERE)
    now, letters = root.clock(), letters_of(root.ledger_to_read)
    for letter in letters:
        print(f"{letter.edition} {letter.created_at:%Y-%m-%d %H:%M} UTC {describe_letter(letter, now)}")
    if not letters:
        print("no letter was announced yet")
    return FAILED if any(describe_problem(letter, now) for letter in letters) else FINE


def _keep(rendered: RenderedLetter, home: Path) -> Path:
    """Write the letter into the data folder as its readers see it, and return the page."""
    folder = home / "letters"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    page, words = (folder / f"{rendered.key}.{ending}" for ending in ("html", "txt"))
    page.write_text(render(rendered.mail.html, _READER, as_html=True), encoding="utf-8")
    head = f"Subject: {rendered.mail.subject}\nPreview: {rendered.mail.preview_text}\n\n"
    words.write_text(head + render(rendered.mail.text, _READER, as_html=False), encoding="utf-8")
    return page


def _is_confirmed(people: int) -> bool:
    if not sys.stdin.isatty():
        raise InvalidSettings("--yes: is needed where nobody can be asked")
    return input(f"Type the number of people ({people}) to send it: ").strip() == str(people)
