"""``preview``: the invitation as its readers will see it, before anything is sent."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from pycontw_assets.commands.console import paint
from pycontw_assets.commands.exits import FINE
from pycontw_assets.records import FAMILIES
from pycontw_assets.settings import InvalidSettings, load_settings

if TYPE_CHECKING:
    from pycontw_assets.commands.exits import Commands


def add_to(commands: Commands) -> None:
    preview = commands.add_parser("preview", help="the invitation as HTML, text and picture; sends nothing")
    preview.add_argument("--family", choices=FAMILIES, default="individual", help="whose mail; all say the same")
    preview.add_argument("--out", type=Path, default=Path("preview"), metavar="FOLDER", help="default: preview")
    preview.set_defaults(run=_preview)


def _preview(parsed: argparse.Namespace) -> int:
    from pycontw_assets.play.preview import NoPicture, take_picture, write_words
    from pycontw_assets.send_email.invitation.template import InvitationError, render_invitation

    settings = load_settings()
    edition = settings.edition or f"{datetime.now(timezone.utc):%Y}"
    try:
        mail = render_invitation(
            edition, venue_url=settings.invitation_venue_url, video_url=settings.invitation_video_url
        )
        page, words = write_words(mail, parsed.family, parsed.out)
    except InvitationError as error:
        raise InvalidSettings(str(error)) from None
    except OSError as error:
        raise InvalidSettings(f"--out: cannot be written ({error.strerror})") from None
    print(f"{paint(mail.subject, 'bold')}\n{mail.name}\nHTML     {page}\ntext     {words}")
    try:
        print(f"picture  {take_picture(page)}")
    except NoPicture as error:
        print(f"picture  none: {error}; open the HTML file in any browser")
    return FINE
