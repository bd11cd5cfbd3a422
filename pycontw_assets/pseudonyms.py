"""Addresses and phones to pseudonyms: normalise, then SHA-256, keyed where a key is set.

A pseudonym recognises a returning person without storing who it is. It is still personal data. Another key or
``NORMALISATION_VERSION`` makes everybody look new. So the ledger remembers both and refuses a silent change.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

NORMALISATION_VERSION = 1

_LONGEST_ADDRESS = 254  # characters. RFC 5321: 256 octets for the path, less the angle brackets
# Characters that show nothing: Unicode's format characters (Cf) and Default_Ignorable_Code_Point, control characters
# of no use in a text, and four blank symbols (Braille blank, object replacement, Khitan filler, null notehead).
_FILLERS = re.compile(
    "[\x00\x80-\x84\x86-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160"
    "\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffc\U000110bd\U000110cd\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_MOST_READ = 100  # characters of an answer in which phones are looked for
_LONGEST_PHONE = 17  # digits: 15 of E.164, and the 00 before them
_SHORTEST_NUMBER = 7  # digits. An opening bracket after so many begins a comment
# Nearly every phone has this form. Its E.164 is known without the parser, which takes 0.1 ms.
_MOBILE_OF_TAIWAN = re.compile(r"(?:0|\+886[- ]?)(9[0-9]{2})[- ]?([0-9]{3})[- ]?([0-9]{3})")
_DIGITS = re.compile(r"([^\d+]*)(\+?\d+)")
_INSIDE_A_NUMBER = re.compile(r"[ \t.()\-_\u2010-\u2015\u2212\u30FC]*")

_UNMAILABLE = re.compile(r"[\s\x00-\x1f\x7f<>,;:\"()\[\]\\]")


def normalise_text(value: str) -> str:
    """Return a text trimmed and in NFKC, so that full-width and half-width spellings are equal."""
    return unicodedata.normalize("NFKC", value).strip()


def without_fillers(value: str) -> str:
    """Return a text in NFKC, without the characters that show nothing. Half a character of UTF-16 becomes ``?``."""
    if value.isascii() and "\0" not in value:
        return value
    encodable = value.encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFKC", _FILLERS.sub("", unicodedata.normalize("NFKC", encodable)))


def normalise_address(address: str) -> str:
    """Return the form in which addresses are compared, let in and digested: NFKC, trimmed, lower-case."""
    return normalise_text(normalise_text(address).lower())


def is_mailable(address: str) -> bool:
    """Whether a normalised address has the shape of one: a local part, one ``@``, a domain with a dot.

    Plus tags and international names pass. The services decide about the rest.
    """
    local, at, domain = address.partition("@")
    return (
        bool(local and at and domain)
        and "@" not in domain
        and "." in domain.strip(".")
        and ".." not in domain
        and not domain.startswith(("-", "."))
        and len(address) <= _LONGEST_ADDRESS
        and not _UNMAILABLE.search(address)
    )


def normalise_phone(phone: str, region: str = "TW") -> str:
    """Return the first valid number of an answer in E.164, as dialled in ``region``; without one, the answer's digits.

    The first, because people give their main number first, and an analyst joins one number of a person. An answer
    without digits is no phone: the result is empty.
    """
    if region == "TW" and (mobile := _MOBILE_OF_TAIWAN.fullmatch(phone)):
        return "+886" + "".join(mobile.groups())
    return _parsed_phone(phone, region)


@functools.lru_cache(maxsize=10_000)
def _parsed_phone(phone: str, region: str) -> str:
    text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in without_fillers(phone))
    for number in _numbers(text[:_MOST_READ]):
        if valid := _valid_number(number, region):
            return valid
    digits = "".join(re.findall(r"\d", text))
    # Only the slashes of 0900/000/123 kept it from being read.
    return "+886" + digits[1:] if region == "TW" and _MOBILE_OF_TAIWAN.fullmatch(digits) else digits


def _numbers(text: str) -> Iterator[list[str]]:
    """Yield each number of a text as its runs of digits. Words, commas, slashes and comments end a number."""
    number: list[str] = []
    for gap, digits in _DIGITS.findall(text):
        is_comment = "(" in gap and sum(map(len, number)) >= _SHORTEST_NUMBER
        if number and (digits.startswith("+") or is_comment or not _INSIDE_A_NUMBER.fullmatch(gap)):
            yield number
            number = []
        number.append(digits)
    if number:
        yield number


def _valid_number(runs: list[str], region: str) -> str | None:
    """Return the E.164 of the first valid number in a row of digits: a blank may stand inside it or after it.

    A part of the row counts only where it begins as a number with its prefix does.
    """
    candidates = ["".join(runs)]
    for start, run in enumerate(runs):
        if run.startswith(("0", "+")):
            candidates += ["".join(runs[start:end]) for end in range(len(runs), start, -1)]
    return next((valid for number in candidates if (valid := _in_e164(number, region))), None)


def _in_e164(number: str, region: str) -> str | None:
    import phonenumbers

    international = re.sub(r"\A\+?00(?=[1-9])", "+", number)
    for dialled in dict.fromkeys((number, international)) if len(number) <= _LONGEST_PHONE else ():
        with suppress(phonenumbers.NumberParseException):
            parsed = phonenumbers.parse(dialled, region)
            if phonenumbers.is_valid_number(parsed):
                return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
    return None


class Pseudonymizer:
    """Make pseudonyms: SHA-256 of a normalised value, or HMAC-SHA-256 with a key (``PSEUDONYM_KEY``)."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key.encode() if key else None

    def __repr__(self) -> str:
        return f"Pseudonymizer(keyed={self._key is not None})"

    @property
    def fingerprint(self) -> str:
        """A name for the key that does not reveal it; ``plain`` without a key."""
        return "plain" if self._key is None else self.digest("fingerprint of this pseudonym key")[:16]

    def digest(self, normalised: str) -> str:
        """Return 64 hex digits. The caller normalises first and never passes an empty value."""
        if self._key is None:
            return hashlib.sha256(normalised.encode()).hexdigest()
        return hmac.digest(self._key, normalised.encode(), "sha256").hex()

    def address(self, address: str) -> str:
        """Return the pseudonym of an address in any spelling."""
        return self.digest(normalise_address(address))


def masked(address: str) -> str:
    """``anna@example.org`` -> ``a…@example.org``."""
    local, at, domain = address.strip().rpartition("@")
    return f"{local[:1]}…@{domain}" if at else "…"
