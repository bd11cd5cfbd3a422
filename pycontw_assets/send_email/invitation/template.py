"""From ``invitation.html`` with its placeholders to a finished, versioned mail. No network.

This module fills the placeholders and refuses a text or a link that would make a broken or unsafe mail.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from ipaddress import ip_address
from string import Template
from urllib.parse import parse_qs, urlsplit

from pycontw_assets.send_email import names
from pycontw_assets.send_email.invitation.plain_text import Words, read_words

FILE = "invitation.html"

_PLACEHOLDERS = ("edition", "venue_url", "video_url", "discord_url", "reference")
_UNSUBSCRIBE = "{% unsubscribe %}"
_KLAVIYO_TAG = re.compile(r"\{[{%#]")
_WHOLE_KLAVIYO_TAG = re.compile(r"\{([{%#]).*?[}%#]\}", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_DISCORD_PART = re.compile(r"<!-- discord -->(.*?)<!-- /discord -->", re.DOTALL)
_VIDEO_PART = re.compile(r"<!-- video -->(.*?)<!-- /video -->", re.DOTALL)
_VERSION_LENGTH = 8
_YOUTUBE_HOSTS = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})
_YOUTUBE_PATHS = ("/live/", "/embed/", "/playlist")


class InvitationError(ValueError):
    """The file or the links make no usable mail. The text says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationTemplate:
    """A finished mail. ``name`` contains the version, and ``html`` and ``text`` contain the name."""

    name: str
    subject: str
    preview_text: str
    html: str
    text: str
    version: str


def render_invitation(
    edition: str, *, venue_url: str, video_url: str | None, has_discord: bool = False, source: str | None = None
) -> InvitationTemplate:
    """Return the invitation of an edition. ``source`` replaces the packaged file. Raise ``InvitationError``.

    Without a ``video_url`` the parts of the file that are marked as being about the video are left out, and without
    ``has_discord`` those about Discord. Each person's link to it is a property of the profile.
    """
    source = _packaged() if source is None else source
    return render_page(edition, source, _INVITATION, venue_url=venue_url, video_url=video_url, has_discord=has_discord)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageKind:
    """The rules for one kind of page. ``file``: how errors call it. ``needed``: placeholders that must be in it.

    ``name_of`` returns the name of the template, from the edition, the words and their version. ``subject`` replaces
    the title.
    """

    file: str
    needed: Collection[str]
    name_of: Callable[[str, Words, str], str]
    subject: str | None = None


_INVITATION = PageKind(
    file=FILE, needed=_PLACEHOLDERS, name_of=lambda edition, _words, version: names.template(edition, version)
)


def render_page(
    edition: str, source: str, kind: PageKind, *, venue_url: str, video_url: str | None, has_discord: bool = False
) -> InvitationTemplate:
    """Return a mail of an edition from a page with placeholders. Raise ``InvitationError``."""
    if not re.fullmatch(r"20[0-9]{2}", edition):
        raise InvitationError("an edition is a year of four digits")
    links = {"venue_url": venue_url, **({} if video_url is None else {"video_url": video_url})}
    for name, link in links.items():
        _check_link(name, link)
    values = {"edition": edition, **links}
    if has_discord:
        values["discord_url"] = f"{{{{ person.{names.discord_property(edition)} }}}}"
    source = _VIDEO_PART.sub("" if video_url is None else r"\1", source)
    source = _DISCORD_PART.sub(r"\1" if has_discord else "", source)
    source = _COMMENT.sub("", source)
    _check_placeholders(source, kind.file, known=[*values, "reference"], needed=kind.needed)
    page, words = _fill(source, {**values, "reference": ""}, kind)
    version = hashlib.sha256("\0".join((words.title, words.preview, words.text, page)).encode()).hexdigest()
    version = version[:_VERSION_LENGTH]
    reference = kind.name_of(edition, words, version)
    page, words = _fill(source, {**values, "reference": reference}, kind)
    return InvitationTemplate(
        name=reference,
        subject=words.title,
        preview_text=words.preview,
        html=page,
        text=words.text,
        version=version,
    )


def check_video_url(url: str, *, allow_loopback: bool = False) -> None:
    """Refuse all but a YouTube video by HTTPS. ``allow_loopback``: the sandbox may also use this machine.

    The error names the host at most, because everybody with the link of an unlisted video can watch it.
    """
    _check_link("INVITATION_VIDEO_URL", url)
    parts = urlsplit(url)
    host = parts.hostname or ""
    if allow_loopback and _is_loopback(host):
        return
    if parts.scheme != "https":
        raise InvitationError("INVITATION_VIDEO_URL must begin with https://")
    if host not in _YOUTUBE_HOSTS or parts.username is not None:
        raise InvitationError(f"INVITATION_VIDEO_URL must be on YouTube (youtube.com, youtu.be), not on {host}")
    short = host == "youtu.be" and len(parts.path) > 1
    watch_page = parts.path == "/watch" and "v" in parse_qs(parts.query)
    if not (short or watch_page or parts.path.startswith(_YOUTUBE_PATHS)):
        raise InvitationError("INVITATION_VIDEO_URL must name one video, stream or playlist")


def _check_link(name: str, url: str) -> None:
    """Refuse all but web links, and all that Klaviyo or a mail program would read as more than a link."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise InvitationError(f"{name} must be a web address (https://…)")
    if _KLAVIYO_TAG.search(url) or re.search(r"[\s\x00-\x1f\x7f<>\"\\^`{}|]", url):
        raise InvitationError(f"{name} holds a blank, a brace or another character no web address has")


def _check_placeholders(source: str, file: str, *, known: Collection[str], needed: Collection[str]) -> None:
    """Refuse a page that lacks something, or holds something that nobody fills. ``known``: there is a value for it."""
    used = {plain or braced for _, plain, braced, _ in Template.pattern.findall(source)} - {""}
    if "video_url" in used and "video_url" not in known:
        raise InvitationError(
            f"{file} names ${{video_url}} outside <!-- video --> and <!-- /video -->, and INVITATION_VIDEO_URL is off"
        )
    if "discord_url" in used and "discord_url" not in known:
        raise InvitationError(
            f"{file} names ${{discord_url}} outside <!-- discord --> and <!-- /discord -->, and VENUES is without it"
        )
    for name in sorted(used - set(_PLACEHOLDERS)):
        choice = ", ".join(f"${{{placeholder}}}" for placeholder in _PLACEHOLDERS)
        raise InvitationError(f"{file} has an unknown placeholder ${{{name}}}; known: {choice}")
    for name in needed:
        if name in known and name not in used:
            raise InvitationError(f"{file} lacks the placeholder ${{{name}}}")
    if _UNSUBSCRIBE not in source:
        raise InvitationError(f"{file} lacks Klaviyo's tag {_UNSUBSCRIBE}")
    # Klaviyo replaces an unknown tag by nothing, and nobody would see it before the mail has left.
    for tag in _WHOLE_KLAVIYO_TAG.finditer(source):
        if tag[0] != _UNSUBSCRIBE:
            raise InvitationError(f"{file} has an unknown tag {tag[0]}; the only one of Klaviyo's is {_UNSUBSCRIBE}")


def _fill(source: str, values: Mapping[str, str], kind: PageKind) -> tuple[str, Words]:
    """Return the page with the values, and its words."""
    try:
        page = Template(source).substitute({name: html.escape(value) for name, value in values.items()})
    except ValueError as error:
        raise InvitationError(f"{kind.file}: {error}; a plain dollar sign is written $$") from None
    words = read_words(page)
    if kind.subject is not None:
        words = replace(words, title=kind.subject)
    if not words.title or not words.preview:
        title = "" if kind.subject is not None else "a <title> (the subject) and "
        raise InvitationError(f'{kind.file} needs {title}a <div class="preview">, with words')
    return page, words


def _packaged() -> str:
    return (files(__package__) / FILE).read_text(encoding="utf-8")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
