"""The invitation is complete in both languages, versioned by its content, and safe to send."""

import html.parser
import re

import pytest

from pycontw_assets.send_email.invitation.template import (
    FILE,
    InvitationError,
    check_video_url,
    render_invitation,
)

VENUE = "https://app.example.org/venue?space=a&room=1"
VIDEO = "https://youtu.be/invented0000"
SOURCE = (
    '<title>S ${edition}</title><div class="preview">P</div>'
    "<p>${edition} ${venue_url} ${video_url} ${reference} {% unsubscribe %}</p>"
)


def invitation(source: str = SOURCE, venue: str = VENUE, video: str | None = VIDEO):
    return render_invitation("2031", venue_url=venue, video_url=video, source=source)


class _Page(html.parser.HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.links: dict[str, str] = {}
        self.words = ""
        self._link: str | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self._link = dict(attrs)["href"] or ""

    def handle_endtag(self, tag):
        if tag == "a":
            self._link = None

    def handle_data(self, data):
        if (
            self.tags
            and self.tags[-1][0] not in ("style", "title")
            and ("class", "preview") not in self.tags[-1][1].items()
        ):
            self.words += data + "\n"
        if self._link is not None:
            self.links[data.strip()] = self._link


MAIL = render_invitation("2031", venue_url=VENUE, video_url=VIDEO)
PAGE = _Page(MAIL.html)


def test_the_name_carries_the_edition_and_a_digest_of_the_content() -> None:
    assert re.fullmatch(r"pycontw-2031-invitation-[0-9a-f]{8}", MAIL.name)
    assert MAIL.name.endswith(MAIL.version)


def test_the_same_words_and_links_make_the_same_version() -> None:
    assert render_invitation("2031", venue_url=VENUE, video_url=VIDEO) == MAIL


@pytest.mark.parametrize(
    "changed",
    [
        invitation(SOURCE + "."),
        invitation(SOURCE.replace("<title>S", "<title>T")),
        invitation(SOURCE.replace(">P<", ">Q<")),
        invitation(SOURCE.replace("<p>", '<p class="other">')),
        invitation(venue=VENUE + "2"),
        invitation(video=VIDEO + "2"),
    ],
)
def test_any_change_makes_another_version(changed) -> None:
    assert changed.version != invitation().version


def test_html_and_text_are_marked_with_the_version() -> None:
    assert MAIL.name in MAIL.html
    assert MAIL.name in MAIL.text


def test_both_links_stand_in_html_and_text() -> None:
    assert set(PAGE.links.values()) == {VENUE, VIDEO, "#english"}
    assert VENUE in MAIL.text
    assert VIDEO in MAIL.text


def test_without_a_video_the_mail_has_no_hole_where_it_was() -> None:
    mail = render_invitation("2031", venue_url=VENUE, video_url=None)
    assert mail.preview_text == "進入線上會場的連結。 The link to the venue."
    for words in (mail.html, mail.text):
        assert not re.search(r"影片|[Tt]alks|video|None|<p[^>]*>\s*</p>|\$\{", words)
    whole = render_invitation("2031", venue_url=VENUE, video_url=VIDEO)
    assert mail.version != whole.version
    assert VIDEO in whole.html


def test_a_video_link_outside_of_its_marks_is_refused_without_a_video() -> None:
    with pytest.raises(InvitationError, match="outside <!-- video -->"):
        invitation(video=None)


def test_the_way_out_of_the_list_is_left_to_klaviyo() -> None:
    assert MAIL.html.count("{% unsubscribe %}") == 1
    assert MAIL.text.count("{% unsubscribe %}") == 1


@pytest.mark.parametrize("part", [MAIL.html, MAIL.text])
def test_the_mail_explains_the_way_in_in_both_languages(part: str) -> None:
    for words in ("購票時填寫的電子郵件地址", "address you bought", "回覆這封信", "reply to this e-mail"):
        assert words in part


def test_the_mail_never_mentions_a_password() -> None:
    assert not re.search("password|密碼", MAIL.html + MAIL.text, re.IGNORECASE)


def test_subject_and_preview_name_the_conference_in_both_languages() -> None:
    assert "PyCon Taiwan 2031" in MAIL.subject
    assert "線上會場" in MAIL.subject
    assert "venue" in MAIL.preview_text
    assert MAIL.subject not in MAIL.text


def test_the_page_is_readable_by_a_screen_reader() -> None:
    languages = [attributes["lang"] for tag, attributes in PAGE.tags if tag in ("html", "div") and "lang" in attributes]
    assert languages == ["zh-Hant-TW", "zh-Hant-TW", "en"]
    assert [tag for tag, _ in PAGE.tags].count("h1") == 1
    assert all(attributes.get("role") == "presentation" for tag, attributes in PAGE.tags if tag == "table")
    assert not [text for text in PAGE.links if text.lower() in ("here", "click here", "link", "這裡")]


def test_the_mail_needs_no_image_script_or_style_sheet() -> None:
    assert not {"img", "script", "link", "iframe"} & {tag for tag, _ in PAGE.tags}


def test_the_mail_is_readable_in_dark_mode() -> None:
    assert "prefers-color-scheme: dark" in MAIL.html
    assert 'name="color-scheme" content="light dark"' in MAIL.html


def test_no_placeholder_is_left() -> None:
    assert "${" not in MAIL.html + MAIL.text + MAIL.subject + MAIL.preview_text


def test_links_are_escaped_in_html_and_plain_in_text() -> None:
    assert "space=a&amp;room=1" in MAIL.html
    assert "space=a&room=1" in MAIL.text


def test_the_text_has_the_words_of_the_page_in_their_order() -> None:
    words = [line.strip() for line in PAGE.words.split("\n") if line.strip()]
    assert [word for word in words if word not in MAIL.text] == []
    assert MAIL.text.split("\n\n\n- - -\n\n")[1].startswith("您的線上會場已經開放\n\n您好")
    assert f"Watch the talks: this link is for ticket holders; please do not pass it on.\n   {VIDEO}\n" in MAIL.text


def test_comments_for_editors_are_not_sent() -> None:
    assert "<!--" not in MAIL.html
    assert invitation("<!-- ${anything} {% goes %} -->\n" + SOURCE) == invitation()


def test_a_misspelt_placeholder_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvitationError, match=rf"{FILE}.*\$\{{vanue_url\}}; known: .*\$\{{venue_url\}}"):
        invitation(SOURCE.replace("${venue_url}", "${vanue_url}"))


@pytest.mark.parametrize("tag", ["{{ person.frist_name }}", "{% unsubscibe %}", "{# note #}", "{% if x %}"])
def test_a_tag_that_klaviyo_would_fill_with_nothing_is_named(tag: str) -> None:
    with pytest.raises(InvitationError, match=re.escape(tag)):
        invitation(SOURCE + tag)


@pytest.mark.parametrize("lacking", ["${venue_url}", "${video_url}", "${reference}", "{% unsubscribe %}"])
def test_a_file_without_a_link_the_mark_or_the_way_out_is_refused(lacking: str) -> None:
    with pytest.raises(InvitationError, match=re.escape(f"{FILE} lacks")) as refusal:
        invitation(SOURCE.replace(lacking, ""))
    assert lacking in str(refusal.value)


def test_a_bare_dollar_sign_says_how_to_write_it() -> None:
    with pytest.raises(InvitationError, match=re.escape("$$")):
        invitation(SOURCE + " costs $ 5")


@pytest.mark.parametrize("lacking", ["<title>S ${edition}</title>", '<div class="preview">P</div>'])
def test_a_file_without_a_subject_or_a_preview_is_refused(lacking: str) -> None:
    with pytest.raises(InvitationError, match=r"needs a <title>.*preview"):
        invitation(SOURCE.replace(lacking, ""))


@pytest.mark.parametrize(
    "link",
    [
        "https://example.org/{{ person.email }}",
        "https://example.org/{% if x %}",
        "https://example.org/{# x",
        'https://example.org/"onclick=',
        "https://example.org/\nBcc:",
        "https://example.org/a b",
        "javascript:alert(1)",
        "example.org",
        "https://[broken",
        "",
    ],
)
def test_a_link_that_is_more_than_a_link_is_refused_without_quoting_it(link: str) -> None:
    with pytest.raises(InvitationError) as refusal:
        invitation(venue=link)
    assert not link or link not in str(refusal.value)


@pytest.mark.parametrize("edition", ["", "31", "next", "20311", "2031\n"])
def test_an_edition_is_a_year(edition: str) -> None:
    with pytest.raises(InvitationError, match="year"):
        render_invitation(edition, venue_url=VENUE, video_url=VIDEO)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=invented0000",
        "https://youtube.com/watch?list=x&v=invented0000",
        "https://youtu.be/invented0000?si=x",
        "https://www.youtube.com/live/invented0000",
        "https://www.youtube.com/playlist?list=invented",
    ],
)
def test_a_youtube_link_by_https_is_accepted(url: str) -> None:
    check_video_url(url)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://youtu.be/invented0000", "https://"),
        ("https://youtube.com.example.org/watch?v=invented0000", "youtube.com.example.org"),
        ("https://youtube.com@example.org/watch?v=invented0000", "not on example.org"),
        ("https://someone@youtube.com/watch?v=invented0000", "must be on YouTube"),
        ("https://www.youtube.com/", "one video"),
        ("https://www.youtube.com/watch", "one video"),
        ("https://youtu.be/", "one video"),
        ("http://127.0.0.1:8000/video", "https://"),
    ],
)
def test_another_link_is_refused_with_the_reason_and_without_the_video(url: str, complaint: str) -> None:
    with pytest.raises(InvitationError, match=complaint) as refusal:
        check_video_url(url)
    assert "invented0000" not in str(refusal.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_sandbox_may_show_a_video_on_this_machine(host: str) -> None:
    check_video_url(f"http://{host}:8000/video", allow_loopback=True)


def test_the_sandbox_may_not_show_a_video_elsewhere() -> None:
    with pytest.raises(InvitationError):
        check_video_url("http://example.org/video", allow_loopback=True)
