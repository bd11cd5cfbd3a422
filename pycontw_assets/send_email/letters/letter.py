"""From a person's file and subject to a finished letter, checked as the invitation is. No network."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from pycontw_assets.send_email import names
from pycontw_assets.send_email.invitation.plain_text import Words
from pycontw_assets.send_email.invitation.template import (
    InvitationError,
    InvitationTemplate,
    PageKind,
    render_page,
)

_LONGEST_SUBJECT = 150  # characters. Mail programs show fewer
_KEY_LENGTH = 12
_LANGUAGE = re.compile(r'\blang\s*=\s*["\']?(zh|en)', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedLetter:
    """A finished letter. ``key``: a digest of subject and words. ``missing``: languages that it seems to lack."""

    key: str
    mail: InvitationTemplate
    missing: tuple[str, ...]


def render_letter(
    edition: str, *, subject: str, source: str, file: str, venue_url: str, video_url: str | None
) -> RenderedLetter:
    """Return the letter. ``file``: how errors call it. Raise ``InvitationError`` for what would make a broken mail.

    The links are optional, for a letter may be about lunch. Another look of the same words is the same letter.
    """
    subject = " ".join(subject.split())
    _check_subject(subject)
    keys: list[str] = []

    def name_of(edition: str, words: Words, version: str) -> str:
        keys.append(letter_key(words))
        return names.letter_template(edition, keys[0], version)

    kind = PageKind(file=file, needed=("reference",), name_of=name_of, subject=subject)
    mail = render_page(edition, source, kind, venue_url=venue_url, video_url=video_url)
    languages = {found.lower() for found in _LANGUAGE.findall(source)}
    return RenderedLetter(key=keys[0], mail=mail, missing=tuple(sorted({"zh", "en"} - languages)))


def letter_key(words: Words) -> str:
    """Return the key of a letter with these words, before its own reference is among them."""
    return hashlib.sha256("\0".join((words.title, words.text)).encode()).hexdigest()[:_KEY_LENGTH]


def _check_subject(subject: str) -> None:
    if not subject or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        raise InvitationError(f"SUBJECT must be one line of at most {_LONGEST_SUBJECT} characters")
    if re.search(r"\{[{%#]|\$\{?\w", subject):
        raise InvitationError("SUBJECT holds a placeholder or a tag; nothing is filled in there, so write the words")
