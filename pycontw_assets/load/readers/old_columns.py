"""The column names that the organisers' SQL uses, each with what it is made of here.

``OLD_COLUMNS`` is the list to read. A column without ``ours`` is NULL: we do not have it, or must not give it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from pycontw_assets.load.readers.view import Dialect

Kind = Literal["text", "number", "amount"]
_TYPES = {"text": "STRING", "number": "INT64", "amount": "FLOAT64"}
_NOT_GIVEN = "Always NULL:"


@dataclass(frozen=True, slots=True, kw_only=True)
class OldColumn:
    """``ours``: columns of our tables, the first value that is there counts. ``has_history``: so has the old table."""

    name: str
    description: str
    ours: tuple[str, ...] = ()
    kind: Kind = "text"
    has_history: bool = False

    @property
    def type(self) -> str:
        return _TYPES[self.kind]

    def from_ours(self, available: Collection[str], dialect: Dialect) -> str:
        """Return the expression over a table of ours that has these columns."""
        values = [self._value(column, dialect) for column in self.ours if column in available]
        if not values:
            return self.nothing(dialect)
        return values[0] if len(values) == 1 else f"COALESCE({', '.join(values)})"

    def from_history(self, available: Collection[str], dialect: Dialect) -> str:
        """Return the expression over a table that organisers filled."""
        has_it = self.has_history and self.name in available
        return dialect.cast(self.name, self.type) if has_it else self.nothing(dialect)

    def nothing(self, dialect: Dialect) -> str:
        return dialect.cast("NULL", self.type)

    def _value(self, column: str, dialect: Dialect) -> str:
        value = dialect.cast(column, self.type)
        if self.kind != "text":
            return value
        # Yes and no were texts.
        return f"CASE LOWER({value}) WHEN 'true' THEN 'Yes' WHEN 'false' THEN 'No' ELSE {value} END"


def _kept(name: str, *ours: str, description: str) -> OldColumn:
    return OldColumn(name=name, ours=ours, description=description, has_history=True)


def _never(name: str, why: str) -> OldColumn:
    return OldColumn(name=name, description=f"{_NOT_GIVEN} {why}")


OLD_COLUMNS: tuple[OldColumn, ...] = (
    OldColumn(
        name="registration_no",
        ours=("reg_no",),
        kind="number",
        has_history=True,
        description="Running number within one event.",
    ),
    _kept("ticket_type", "ticket_name", description="The ticket's name, in the organiser's words."),
    _kept("payment_status", description="paid or not. A refunded ticket stays paid, as in the old tables."),
    _kept("paid_date", description="Day of the payment in Taiwan, YYYY-MM-DD: that of paid_at; where that is unknown, "
          "of KKTIX's last change, as in the old tables."),
    OldColumn(
        name="price",
        ours=("price",),
        kind="amount",
        has_history=True,
        description="Price in whole units of the currency; 0 for a free ticket.",
    ),
    _kept("dietary_habit", "diet", description="Meal preference."),
    _kept("years_of_using_python", "years_of_python", description="For how long the attendee has used Python."),
    _kept("area_of_interest", "areas_of_interest", description="Areas of interest, separated by semicolons."),
    _never("organization", "an employer in clear can name a person; see industry_category."),
    _never("job_title", "a job title in clear can name a person; see profession_category."),
    _kept("country_or_region", "country", description="Country or region."),
    _kept("gender", "gender", description="Gender, spelled as in the old tables."),
    _kept("email", "email_sha256", description="Pseudonym of the contact address. Rows of former years hold SHA-256 of "
          "the address as typed, so the same person has another value there unless it was typed in the normal form."),
    _never("tags", "the organisers' notes on a person."),
    _never("invoice_policy", "a paragraph of the form, not a question."),
    _never("attendance_book", "a column of the exports."),
    _kept("need_shuttle_bus_service", "shuttle_bus_stop", "needs_shuttle_bus", description="Shuttle bus to the venue."),
    _kept("size_of_tshirt", "tshirt_size", description="Size of the T-shirt."),
    _never("invoiced_company_name", "it can name a person."),
    _never("unified_business_no", "it can name a person."),
    _kept("departure_from_region", "departure_region", description="Where the attendee sets out from."),
    _kept("email_from_sponsor", "accepts_sponsor_mail", description="Agrees to get mail that sponsors wrote."),
    _kept("email_to_sponsor", "shares_address_with_sponsors", description="Agrees that sponsors get the address."),
    _kept("how_did_you_know_pycon_tw", "heard_of_conference_by", description="How newcomers heard of the conference."),
    _kept("have_you_ever_attended_pycon_tw", "times_attended", "attended_before", description="Earlier conferences."),
    _kept("have_you_ever_been_a_pycontw_volunteer_pycontw", "volunteered_before", description="Has been a volunteer."),
    _kept("know_financial_aid", "knows_financial_aid", description="Knows of the financial aid."),
    _kept("pynight_attendee_numbers", description="PyNight; only former years have it."),
    _kept("pynight_attending_or_not", "attends_pynight", description="Wants to come to PyNight."),
    _kept("privacy_policy_of_pycon_tw", "accepts_privacy_policy", description="Accepted the privacy policy."),
    _kept("ive_already_read_and_i_accept_the_privacy_policy_of_pycon_tw", "accepts_privacy_policy",
          description="Accepted the privacy policy."),
    _kept("ive_already_read_and_i_accept_the_epidemic_prevention_of_pycon_tw", "accepts_epidemic_prevention",
          description="Accepted the rules of the epidemic."),
    _kept("age_range", "age_range", description="Age range."),
    _kept("how_did_you_know_cfp_of_pycon_tw", "heard_of_call_for_proposals_by",
          description="How submitters heard of the call for proposals."),
    _kept("i_would_like_to_donate_invoice_to_open_culture_foundation", "donates_invoice",
          description="Donates the invoice."),
    _never("vat_number", "it can name a person."),
    _never("qrcode", "it opens the door at the desk, and is stored nowhere."),
)  # fmt: skip
"""All but ``updated_at`` and the categories, which the view of attendees adds."""


def is_never_given(column: OldColumn) -> bool:
    """Whether the column is NULL on purpose."""
    return column.description.startswith(_NOT_GIVEN)
