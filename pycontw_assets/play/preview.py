"""The invitation as its readers will see it, as files to look at. Sends nothing and asks nobody.

What the mail says is made in ``send_email``; what Klaviyo adds (the way out of the list) is added as the sandbox does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pycontw_assets.records import Family
from pycontw_assets.sandbox.klaviyo.rendering import render
from pycontw_assets.send_email.invitation.template import InvitationTemplate

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_FLAGS = ("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--force-device-scale-factor=2")
_WIDTH = 680
_HEIGHTS = range(200, 8000)
_PATIENCE_SECONDS = 60
_MEASURE = "<script>document.title = document.documentElement.scrollHeight</script>"


class NoPicture(Exception):
    """There is no browser, or it did not do as told; the text says which."""


def write_words(mail: InvitationTemplate, family: Family, folder: Path) -> tuple[Path, Path]:
    """The mail to a ticket holder of the family as HTML and text; subject and preview stand above the text."""
    reader = {"email": f"{family}.ticket.holder@example.org"}
    folder.mkdir(parents=True, exist_ok=True)
    page, words = (folder / f"invitation-{family}.{ending}" for ending in ("html", "txt"))
    page.write_text(render(mail.html, reader, as_html=True), encoding="utf-8")
    head = f"To: {reader['email']}\nSubject: {mail.subject}\nPreview: {mail.preview_text}\n\n"
    words.write_text(head + render(mail.text, reader, as_html=False), encoding="utf-8")
    return page, words


def take_picture(page: Path) -> Path:
    """A PNG of the whole page beside it, by the browser of this machine."""
    browser = next((found for name in _BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise NoPicture("there is no Chromium or Chrome on this machine")
    picture = page.with_suffix(".png")
    try:
        with TemporaryDirectory() as profile:
            measured = Path(profile) / "measured.html"
            measured.write_text(page.read_text(encoding="utf-8") + _MEASURE, encoding="utf-8")
            shown = _browse(browser, profile, measured, f"--window-size={_WIDTH},600", "--dump-dom")
            title = re.search(r"<title>(\d+)</title>", shown)
            height = int(title[1]) if title and int(title[1]) in _HEIGHTS else _HEIGHTS[-1]
            picture.unlink(missing_ok=True)
            _browse(browser, profile, page, f"--window-size={_WIDTH},{height}", f"--screenshot={picture.resolve()}")
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPicture(f"{browser} failed ({type(error).__name__})") from None
    if not picture.exists():
        raise NoPicture(f"{browser} made no picture")
    return picture


def _browse(browser: str, profile: str, page: Path, *arguments: str) -> str:
    # As root, which is usual in a container, Chromium refuses to start with its sandbox; the page is our own.
    flags = [*_FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else _FLAGS
    command = [browser, *flags, f"--user-data-dir={profile}", *arguments, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=True)  # noqa: S603
    return done.stdout
