"""Texts of others act in no outlet: not in a terminal, not as Markdown, not in a chat."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontw_assets.api.outlets import for_chat, for_markdown, for_terminal, from_markdown, shorten

OUTLETS = [for_terminal, for_markdown, for_chat, shorten]
BELL, ESCAPE, CSI, NEXT_LINE, RIGHT_TO_LEFT = "\x07", "\x1b", "\x9b", "\x85", "\u202e"


@pytest.mark.parametrize("outlet", OUTLETS)
@pytest.mark.parametrize("sign", [BELL, ESCAPE, CSI, NEXT_LINE, RIGHT_TO_LEFT, "\n", "\r", "\t", "\u2028", "\u2066"])
def test_no_outlet_lets_a_control_or_direction_character_through(outlet: Callable[[str], str], sign: str) -> None:
    shown = outlet(f"one{sign}two")
    assert shown.isprintable()
    assert shown in ("onetwo", "one two")


@pytest.mark.parametrize("outlet", OUTLETS)
@given(st.text())
def test_what_an_outlet_shows_is_one_visible_line(outlet: Callable[[str], str], text: str) -> None:
    assert outlet(text).isprintable()


@pytest.mark.parametrize("outlet", OUTLETS)
def test_half_a_character_leaves_the_rest_and_can_be_encoded(outlet: Callable[[str], str]) -> None:
    assert outlet("a\ud83db").encode() == b"a b"


def test_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    assert for_terminal("  \x1b[2J\x1b]0;title\x07sold out") == "   [2J ]0;title sold out"


def test_names_in_any_language_stay_as_they_are() -> None:
    for name in ("PyCon TW 2031 個人票（早鳥）", "Étudiant — 50 %", "שלום", "テスト・チケット", "🎟 VIP"):
        assert for_terminal(name) == for_markdown(name) == for_chat(name) == shorten(name) == name


# -- Markdown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "markdown"),
    [
        ("![](https://evil.example/x.png)", r"!\[\](https：//evil.example/x.png)"),
        ("[free](javascript:alert)", r"\[free\](javascript:alert)"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("2031) item", r"2031\) item"),
        ("a | b", r"a \| b"),
        ("`code` *bold* __x__ ~~y~~", r"\`code\` \*bold\* \_\_x\_\_ \~\~y\~\~"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("\\[link](x)", r"\\\[link\](x)"),
        ("see WWW.evil.example", "see WWW．evil.example"),
        ("write to mei@example.org", "write to mei＠example.org"),
        ("http\u200b://evil.example", "http：//evil.example"),
        ("    four blanks are no code", "four blanks are no code"),
    ],
)
def test_markdown_shows_the_line_and_nothing_else(line: str, markdown: str) -> None:
    assert for_markdown(line) == markdown


@given(st.text(alphabet=string.punctuation + "ab1 \n"))
def test_no_sign_of_markdown_is_left_unescaped(text: str) -> None:
    markdown = for_markdown(text)
    assert not re.search(r"[`*_\[\]<>#|~&$]", re.sub(r"\\.", "", markdown))
    assert not re.match(r"[-+]|\d+[.)]", markdown)
    assert not re.search(r"[a-z]://|www\.|@", from_markdown(markdown), re.IGNORECASE)


@given(st.text(alphabet=string.ascii_letters + string.digits + " `*_[]<>#|~&$\\.()-+!é票"))
def test_the_line_can_be_had_back_from_its_markdown(text: str) -> None:
    assert from_markdown(for_markdown(text)) == re.sub(r"(?<=www)\.", "．", text.strip(), flags=re.IGNORECASE)


# -- chat ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["@everyone", "<@123456>", "<@&42>", "<!channel>", "[free](https://evil.example)", "```", "||x||", "# x"]
)
def test_a_chat_calls_nobody_and_links_nowhere(line: str) -> None:
    assert not re.search(r"[@<>\[\]`|#*~\\]|://", for_chat(line))


def test_the_words_of_this_program_can_still_be_read_in_a_chat() -> None:
    line = "- 2031-individual-90001: raise INVITE_LIMIT or run `poll --allow invite` (2 people), 50 % of 12"
    assert for_chat(line) == line.replace("`", "'")
    assert for_chat("_sold_ __out__") == "＿sold＿ ＿＿out＿＿"


# -- names --------------------------------------------------------------------------------------------


def test_a_name_is_one_line_of_bounded_length() -> None:
    assert shorten("  early\n\n bird ") == "early bird"
    assert shorten("x" * 100_000) == f"{'x' * 79}…"
    assert shorten("x" * 80) == "x" * 80
    assert shorten("\n" * 100_000) == ""
