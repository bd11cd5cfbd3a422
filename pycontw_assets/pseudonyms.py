"""Addresses and phones to pseudonyms: normalise, then SHA-256, keyed where a key is set.

A pseudonym recognises a returning person without storing who it is. It is still personal data. Another key or
``NORMALISATION_VERSION`` makes people look new. So the ledger remembers both: another key is refused, and a ledger of
an older version is brought to this one (``pipeline.rebuild``).
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress

NORMALISATION_VERSION = 2

_LONGEST_ADDRESS = 254  # characters. RFC 5321: 256 octets for the path, less the angle brackets
# Characters that show nothing: Unicode's format characters (Cf) and Default_Ignorable_Code_Point, control characters
# of no use in a text, and four blank symbols (Braille blank, object replacement, Khitan filler, null notehead).
_FILLERS = re.compile(
    "[\x00\x80-\x84\x86-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160"
    "\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffc\U000110bd\U000110cd\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_JOINERS = re.compile("[\u200c\u200d]")  # fillers everywhere but inside some names of domains
_ROOT = re.compile(r"[.\s\u200c\u200d]+\Z")  # a last dot is the root of all domains
# Nearly every address has this form, in which only letter case is left to normalise.
_USUAL_ADDRESS = re.compile(r"[!-?A-~]+@(?!.*\bxn--)[!-?A-~]*[0-9A-Za-z]", re.ASCII | re.IGNORECASE)
_UNMAILABLE = re.compile(r"[\s\x00-\x1f\x7f<>,;:\"()\[\]\\]")
_MOST_READ = 100  # characters of an answer in which phones are looked for
_LONGEST_PHONE = 17  # digits: 15 of E.164, and the 00 before them
_SHORTEST_NUMBER = 7  # digits. An opening bracket after so many begins a comment
# Nearly every phone has this form. Its E.164 is known without the parser, which takes 0.1 ms.
_MOBILE_OF_TAIWAN = re.compile(r"(?:0|\+886[- ]?)(9[0-9]{2})[- ]?([0-9]{3})[- ]?([0-9]{3})")
_DIGITS = re.compile(r"([^\d+]*)(\+?\d+)")
_INSIDE_A_NUMBER = re.compile(r"[ \t.()\-_\u2010-\u2015\u2212\u30FC]*")


def normalise_text(value: str) -> str:
    """Return a text trimmed and in NFKC, so that full-width and half-width spellings are equal."""
    return (value if value.isascii() else unicodedata.normalize("NFKC", value)).strip()


def without_fillers(value: str) -> str:
    """Return a text in NFKC, without the characters that show nothing. Half a character of UTF-16 becomes ``?``."""
    if value.isascii() and "\0" not in value:
        return value
    encodable = value.encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFKC", _FILLERS.sub("", unicodedata.normalize("NFKC", encodable)))


# -- addresses ----------------------------------------------------------------------------------------


def normalise_address(address: str) -> str:
    """Return the form in which addresses are compared, let in and digested: one mailbox, one form.

    It is the deliverable spelling in lower case.
    """
    if _USUAL_ADDRESS.fullmatch(address):
        return address.lower()
    return deliverable_address(deliverable_address(address).lower())


def deliverable_address(address: str) -> str:
    """Return the spelling that is shown and sent: nothing invisible, the domain in ASCII, the buyer's own capitals.

    NFKC, fillers out, blanks and the root's dot off, every full stop a dot. An address that would become too long in
    ASCII keeps its domain in letters: it cannot be delivered, and a person will have to look at it.
    """
    if _USUAL_ADDRESS.fullmatch(address):
        local, _, domain = address.partition("@")
        return f"{local}@{domain.lower()}"
    local, at, domain = _with_joiners(address).rpartition("@")
    if not at:
        return without_fillers(domain).strip()
    local, domain = without_fillers(local).strip(), _ROOT.sub("", domain).lower()
    spelled = f"{local}@{'.'.join(map(_ascii_label, domain.split('.')))}"
    return spelled if len(spelled) <= _LONGEST_ADDRESS else f"{local}@{without_fillers(domain)}"


def is_deliverable(spelling: str) -> bool:
    """Whether people can use a spelling as it is, but for width, case and blanks around it: nothing hides in it.

    A domain in letters passes. An ideographic or a last full stop does not.
    """
    if _USUAL_ADDRESS.fullmatch(spelling):
        return True
    shown = normalise_text(normalise_text(spelling).lower())
    return shown == without_fillers(shown) and "\u3002" not in shown and not shown.endswith(".")


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


def former_addresses(spelling: str) -> set[str]:
    """Return other forms of the same mailbox that older records may hold; none for a usual address.

    They are the spelling as version 1 normalised it, and the address with its domain in letters.
    """
    if _USUAL_ADDRESS.fullmatch(spelling.strip()):
        return set()
    address = normalise_address(spelling)
    local, at, domain = address.rpartition("@")
    in_letters = local + at + ".".join(map(_label_in_letters, domain.split(".")))
    return {_address_of_version_1(spelling), _address_of_version_1(in_letters)} - {address}


def _address_of_version_1(address: str) -> str:
    """Return the form of ``NORMALISATION_VERSION`` 1: NFKC, trimmed, lower-case. It finds old pseudonyms, no more."""
    encodable = address.replace("\0", "").encode("utf-8", "replace").decode()
    return normalise_text(normalise_text(encodable).lower())


def _with_joiners(address: str) -> str:
    """Return a text trimmed and without fillers, but for joiners; every full stop is a dot."""
    kept = (without_fillers(part) for part in _JOINERS.split(address))
    joiners = (*_JOINERS.findall(address), "")
    text = "".join(part + joiner for part, joiner in zip(kept, joiners, strict=True))
    return unicodedata.normalize("NFKC", text).replace("\u3002", ".").strip()


def _ascii_label(label: str) -> str:
    """Return one label of a domain as DNS knows it: mapped by UTS 46, then in ASCII.

    IDNA 2008 refuses some labels that are in use, such as symbols and underscores. They are written the same way, and
    what no domain can hold stays as it is: the services, or a person, will decide.
    """
    import idna

    if label.isascii():
        return label
    try:
        mapped = idna.uts46_remap(label, std3_rules=False)
    except idna.IDNAError:
        return without_fillers(label)
    plain = without_fillers(mapped)
    for spelled in (mapped, plain):
        with suppress(idna.IDNAError):
            return spelled if spelled.isascii() else idna.alabel(spelled).decode()
    return plain if _UNMAILABLE.search(plain) else "xn--" + plain.encode("punycode").decode()


def _label_in_letters(label: str) -> str:
    import idna

    with suppress(idna.IDNAError):
        return idna.ulabel(label) if label.startswith("xn--") else label
    return label


# -- phones -------------------------------------------------------------------------------------------


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


# -- pseudonyms ---------------------------------------------------------------------------------------


class Pseudonymizer:
    """Make pseudonyms: SHA-256 of a normalised value, or HMAC-SHA-256 with a key (``PSEUDONYM_KEY``)."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key.encode() if key else None

    def __repr__(self) -> str:
        return f"Pseudonymizer(keyed={self._key is not None})"

    @property
    def is_keyed(self) -> bool:
        """Whether a key is set. Without it, whoever has a list of addresses finds those of the tables."""
        return self._key is not None

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

    def former_keys(self, spelling: str) -> dict[str, str]:
        """Return older pseudonyms of the mailbox of a spelling, each with the one of today."""
        former = former_addresses(spelling)
        return {self.digest(address): self.address(spelling) for address in former} if former else {}


def masked(address: str) -> str:
    """``anna@example.org`` -> ``a…@example.org``."""
    local, at, domain = deliverable_address(address).rpartition("@")
    return f"{local[:1]}…@{domain}" if at else "…"
