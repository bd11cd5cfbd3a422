"""One address has one pseudonym in every spelling, and no key is shown."""

import hashlib
import time
import unicodedata

import phonenumbers
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
        ("٠٩٠٠٠٠٠١٢٣", "+886900000123"),
        ("0900\u200b000\u00ad123", "+886900000123"),
        # A prefix for calls abroad, or none
        ("00886900000123", "+886900000123"),
        ("00886 900-000-123", "+886900000123"),
        ("+00886900000123", "+886900000123"),
        ("002886900000123", "+886900000123"),
        ("886-900-000-123", "+886900000123"),
        ("+886 (0)900 000 123", "+886900000123"),
        ("0081 90-1234-5678", "+819012345678"),
        ("+1 (212) 555-0123", "+12125550123"),
        # Words and comments
        ("0900000123 手機", "+886900000123"),
        ("0900000123mobile", "+886900000123"),
        ("手機：0900000123", "+886900000123"),
        ("0900000123 (公司)", "+886900000123"),
        ("0900000123（請於18:00後來電）", "+886900000123"),
        ("(02) 2345-6789 #123", "+886223456789"),
        ("02-2345-6789 分機 12", "+886223456789"),
        ("07-123-4567(8)", "+88671234567"),
        # Several
        ("0900-000-123;0900-000-124", "+886900000123"),
        ("0900-000-124;0900-000-123", "+886900000124"),
        ("0900-000-123／0900-000-124", "+886900000123"),
        ("0900-000-123\n0900-000-124", "+886900000123"),
        ("0900-000-123、0900-000-124", "+886900000123"),
        ("0900-000-123 or 0900-000-124", "+886900000123"),
        ("0900 000 123 0900 000 124", "+886900000123"),
        ("+886900000123+886900000124", "+886900000123"),
        ("2345678; 0900000123", "+886900000123"),
        ("1. 0900000123", "+886900000123"),
        ("07-1234567/8", "+88671234567"),
        ("0900/000/123", "+886900000123"),
        # No valid number: digits, and nothing else
        ("ext. 7", "7"),
        ("+12 34", "1234"),
        ("0900-000-12", "090000012"),
        ("8869000001230", "8869000001230"),
        ("1-800-FLOWERS", "1800"),
        ("4311-9522-1234-5678", "4311952212345678"),
        ("not a number", ""),
        ("＋", ""),
    ],
)
def test_a_phone_becomes_the_e164_of_its_first_valid_number_or_digits(phone: str, normalised: str) -> None:
    assert normalise_phone(phone) == normalised


@given(st.text("0123456789+-/;() 公x\n"))
def test_a_phone_is_a_valid_number_or_digits(text: str) -> None:
    normalised = normalise_phone(text)
    if normalised.startswith("+"):
        assert phonenumbers.is_valid_number(phonenumbers.parse(normalised))
    else:
        assert normalised == "".join(c for c in text if c.isdecimal())


def test_a_long_row_of_numbers_costs_little() -> None:
    begun = time.process_time()
    assert normalise_phone("0 1 " * 20_000).isdecimal()
    assert time.process_time() - begun < 2


@given(
    st.sampled_from(["0", "+886", "+886-", "+886 "]),
    st.from_regex("9[0-9]{2}[- ]?[0-9]{3}[- ]?[0-9]{3}", fullmatch=True),
)
def test_a_mobile_of_taiwan_is_as_the_parser_normalises_it(prefix: str, number: str) -> None:
    assert normalise_phone(prefix + number) == _parsed_phone(prefix + number, "TW")
