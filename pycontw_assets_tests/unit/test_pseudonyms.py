"""One address has one pseudonym in every spelling, and no key is shown."""

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.pseudonyms import (
    Pseudonymizer,
    _parsed_phone,
    is_mailable,
    normalise_address,
    normalise_phone,
    normalise_text,
)

ADDRESS = "buyer-one@example.org"


@pytest.mark.parametrize(
    "spelling",
    [
        " Buyer-One@Example.ORG ",
        "ＢＵＹＥＲ-ＯＮＥ＠ＥＸＡＭＰＬＥ．ＯＲＧ",
        "\tbuyer-one@example.org\n",
        "BUYER-ONE@EXAMPLE.ORG",
    ],
)
def test_every_spelling_of_an_address_has_one_pseudonym(spelling: str) -> None:
    assert Pseudonymizer().address(spelling) == hashlib.sha256(ADDRESS.encode()).hexdigest()


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise_address(normalise_address(text)) == normalise_address(text)
    assert normalise_text(normalise_text(text)) == normalise_text(text)


@given(st.emails())
def test_a_full_width_upper_case_spelling_is_the_same_address(address: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in address.upper())
    assert normalise_address(wide) == normalise_address(unicodedata.normalize("NFKC", wide).lower())
    assert normalise_address(wide) == normalise_address(address)


def test_another_key_gives_other_pseudonyms_and_another_fingerprint() -> None:
    plain, one, two = Pseudonymizer(), Pseudonymizer("first key"), Pseudonymizer("second key")
    assert len({each.address(ADDRESS) for each in (plain, one, two)}) == 3
    assert len({each.fingerprint for each in (plain, one, two)}) == 3
    assert plain.fingerprint == Pseudonymizer("").fingerprint == "plain"


def test_neither_repr_nor_fingerprint_shows_the_key() -> None:
    keyed = Pseudonymizer("a very secret key")
    shown = repr(keyed) + str(vars(type(keyed)).get("__slots__")) + keyed.fingerprint
    assert "secret" not in shown
    assert hashlib.sha256(b"a very secret key").hexdigest()[:16] != keyed.fingerprint


@pytest.mark.parametrize("address", [ADDRESS, "a+b@example.org", "用戶@例子.example.org", "o'brien@mail.example.org"])
def test_an_address_in_the_shape_of_one_is_mailable(address: str) -> None:
    assert is_mailable(normalise_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "a@", "@example.org", "a@b", "a@@example.org", "a@b@example.org", "a b@example.org", "a@example..org",
        "a@.example.org", "a@-example.org", "a@example.org,b@example.org", "<a@example.org>", "a@exa\nmple.org",
        "a@example.org\0", '"a"@example.org', f"{'a' * 250}@example.org",
        "5d41402abc4b2a76b9719d911017c592",
    ],
)  # fmt: skip
def test_only_a_single_address_is_mailable(address: str) -> None:
    """An earlier program put digests on the guest list instead of addresses, and Gather took them."""
    assert not is_mailable(address)


@pytest.mark.parametrize(
    ("phone", "normalised"),
    [
        ("0900-000-123", "+886900000123"),
        ("+886 900 000 123", "+886900000123"),
        ("０９００ ０００ １２３", "+886900000123"),
        ("not a number", "not a number"),
        ("ext. 7", "7"),
    ],
)
def test_a_phone_becomes_e164_or_its_bare_digits(phone: str, normalised: str) -> None:
    assert normalise_phone(phone) == normalised


@given(
    st.sampled_from(["0", "+886", "+886-", "+886 "]),
    st.from_regex("9[0-9]{2}[- ]?[0-9]{3}[- ]?[0-9]{3}", fullmatch=True),
)
def test_a_mobile_of_taiwan_is_as_the_parser_normalises_it(prefix: str, number: str) -> None:
    assert normalise_phone(prefix + number) == _parsed_phone(prefix + number, "TW")
