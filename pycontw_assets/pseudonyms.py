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

NORMALISATION_VERSION = 1

_LONGEST_ADDRESS = 254  # characters. RFC 5321: 256 octets for the path, less the angle brackets
# Nearly every phone has this form. Its E.164 is known without the parser, which takes 0.1 ms.
_MOBILE_OF_TAIWAN = re.compile(r"(?:0|\+886[- ]?)(9[0-9]{2})[- ]?([0-9]{3})[- ]?([0-9]{3})")
_UNMAILABLE = re.compile(r"[\s\x00-\x1f\x7f<>,;:\"()\[\]\\]")


def normalise_text(value: str) -> str:
    """Return a text trimmed and in NFKC, so that full-width and half-width spellings are equal."""
    return unicodedata.normalize("NFKC", value).strip()


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
    """Return a phone in E.164 if it can be read as one of ``region`` or with a country code; otherwise its digits."""
    if region == "TW" and (mobile := _MOBILE_OF_TAIWAN.fullmatch(phone)):
        return "+886" + "".join(mobile.groups())
    return _parsed_phone(normalise_text(phone), region)


@functools.lru_cache(maxsize=10_000)
def _parsed_phone(text: str, region: str) -> str:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return re.sub(r"[^\d+]", "", text) or text
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


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
