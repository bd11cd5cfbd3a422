"""One address has one pseudonym in every spelling, and no key is shown."""

import hashlib
import sys
import time
import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.pseudonyms import (
    _USUAL_ADDRESS,
    Pseudonymizer,
    _parsed_phone,
    deliverable_address,
    former_addresses,
    is_deliverable,
    is_mailable,
    normalise_address,
    normalise_phone,
    normalise_text,
    without_fillers,
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


# Letters and signs that are spelled in several ways, fillers, blanks and dots.
ODD = (
    "aA例ßẞΣςİ.。．｡@＠\u200b\u200c\u200d\u00ad\u3164\u2800\ufe0f\u034f \u3000\u1680\t-_☃xn1()\u0301نا\u0130ﬀⅧ\ud83d\0"
)
ODD_ADDRESSES = st.builds("{}@{}".format, st.text(ODD, max_size=6), st.text(ODD, max_size=12))


@given(st.one_of(st.text(), ODD_ADDRESSES))
def test_normalising_twice_changes_nothing(text: str) -> None:
    address, spelled = normalise_address(text), deliverable_address(text)
    assert normalise_address(address) == normalise_address(spelled) == address
    assert deliverable_address(spelled) == spelled
    assert without_fillers(address) == address
    assert normalise_text(normalise_text(text)) == normalise_text(text)


# Each line is one mailbox: the deliverable form, then other spellings of it.
MAILBOXES = [
    ("mei.chen@example.org", "mei\u200b.chen@example.org", "\ufeffMei.Chen@example.org\u200e",
     "m\u00adei.chen@exam\u00adple.org", "mei.\u3164chen@example.org", "mei.\uffa0chen@example.org",
     "mei.chen\ufe0f@example.org", "mei\u034f.chen@example.org", "mei\u2800.chen@example.org",
     "mei.chen\u200d@exa\u200cmple.org", "\u202emei.chen@example.org", "mei.chen@example.org\U000e0041",
     "mei.chen@example.org.", "mei.chen@example.org。", "mei．chen＠example．org", "mei。chen@example｡org",
     "\u3000mei.chen@example.org\u00a0\u2003", "mei.chen@example.org .", "ｍｅｉ.chen@EXAMPLE.ORG"),
    ("lin@xn--r8jz45g.example.org", "lin@例え.example.org", "lin@例え。example．org", "LIN@XN--R8JZ45G.EXAMPLE.ORG",
     "lin@Xn--r8Jz45g.example.org.", "lin@例\u200bえ.example.org", "ｌｉｎ@例え.example.org"),
    ("jo@xn--strae-oqa.example.org", "jo@straße.example.org", "jo@STRAẞE.example.org",
     "jo@Stra\u00adße.example.org"),
    ("jo@strasse.example.org", "jo@STRASSE.example.org"),
    ("an@xn--mnchen-3ya.example.org", "an@münchen.example.org", "an@MÜNCHEN.example.org",
     "an@mu\u0308nchen.example.org"),
    # A joiner is a letter of some domains, and nothing in others.
    ("ali@xn--mgba3gch31f060k.example.org", "ali@نامه\u200cای.example.org"),
    # Domains that IDNA 2008 refuses and that are in use, or could be.
    ("ann@my_host.example.org", "ANN@My_Host.example.org", "ann@my\u200b_host.example.org."),
    ("ann@xn--n3h.example.org", "ann@☃.example.org", "ann@☃\ufe0f.example.org"),
    ("ann@xn----rq9bt28f.example.org", "ann@\u6d4b-\u8bd5.example.org"),
    # A local part keeps its letters.
    ("用戶@example.org", "用\u200b戶@example.org"),
    ("straße@example.org", "STRA\u1e9eE@example.org"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mailbox", "spelling"), [(first, each) for first, *rest in MAILBOXES for each in (first, *rest)]
)
def test_one_mailbox_is_one_person(mailbox: str, spelling: str) -> None:
    assert normalise_address(spelling) == mailbox
    assert deliverable_address(spelling).lower() == mailbox
    assert is_mailable(mailbox)


def test_different_mailboxes_stay_different() -> None:
    assert len({Pseudonymizer().address(first) for first, *_ in MAILBOXES}) == len(MAILBOXES)


def test_a_spelling_keeps_the_capitals_of_the_local_part_only() -> None:
    assert deliverable_address(" Mei\u200b.Chen@EXAMPLE。Org. ") == "Mei.Chen@example.org"


@pytest.mark.parametrize("label", ["x" * 70, "例" * 100, "例" * 1200, "-例", "例'え", "xn--例", "\ud83d", "\u0300a"])
def test_a_domain_that_cannot_be_keeps_nobody_out_who_was_served(label: str) -> None:
    """The services or a person decide about it; the form is the same every time."""
    typed = f"Ann@{label}.example.org"
    address = normalise_address(typed)
    assert is_mailable(address) or not is_mailable(normalise_text(typed).lower())
    assert normalise_address(address) == address == normalise_address(deliverable_address(typed))


def test_a_blank_inside_an_address_is_no_spelling_of_another() -> None:
    for typed in ("a b@example.org", "a@exam\u2028ple.org", "a@例 え.example.org", "a@example.org\nb@example.org"):
        assert not is_mailable(normalise_address(typed)), typed


@pytest.mark.parametrize(
    "spelling", ["mei\u200b.chen@example.org", "mei@example.org.", "mei@example。org", "\ufeffa@example.org"]
)
def test_nobody_can_sign_in_with_a_hidden_spelling(spelling: str) -> None:
    assert not is_deliverable(spelling)
    assert is_deliverable(normalise_address(spelling))


@pytest.mark.parametrize(
    "spelling", [" Mei@Example.org ", "ｍｅｉ@example.org", "lin@例え.example.org", "lin@xn--r8jz45g.example.org"]
)
def test_width_case_and_letters_hide_nothing(spelling: str) -> None:
    assert is_deliverable(spelling)


@given(st.from_regex(_USUAL_ADDRESS, fullmatch=True))
def test_nothing_hides_in_a_usual_address(spelling: str) -> None:
    shown = normalise_text(normalise_text(spelling).lower())
    assert shown == without_fillers(shown)
    assert not shown.endswith(".")
    assert is_deliverable(spelling)


def test_every_format_character_of_unicode_shows_nothing() -> None:
    format_characters = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Cf"]
    assert without_fillers("".join(format_characters)) == ""


def test_former_forms_are_those_of_version_1_and_the_domain_in_letters() -> None:
    assert former_addresses(" Quokka@Example.ORG ") == set()
    assert former_addresses("Mei\u200b@Example.org") == {"mei\u200b@example.org"}
    assert former_addresses("lin@XN--r8jz45g.example.org.") == {
        "lin@xn--r8jz45g.example.org.",
        "lin@例え.example.org",
    }
    old, new = (hashlib.sha256(text.encode()).hexdigest() for text in ("mei\u200b@example.org", "mei@example.org"))
    assert Pseudonymizer().former_keys("MEI\u200b@example.org") == {old: new}


@given(ODD_ADDRESSES.filter(lambda address: "Σ" not in address))
def test_a_former_form_is_never_a_form_of_today_and_means_the_same_mailbox(address: str) -> None:
    """So no old pseudonym can be taken for one of today. Only a last capital sigma depends on the letters around it."""
    for former in former_addresses(address):
        assert normalise_address(former) == normalise_address(address) != former


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
