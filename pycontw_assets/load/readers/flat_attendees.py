"""``kktix_ticket_{family}_attendees``: one row per ticket, as the organisers' ``dwd`` tables have them.

Refunded rows stay, as they did there. Rows of former years come from the old table of the family, where it was set
aside, for the years of which our table holds no edition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pycontw_assets.load.ownership import set_aside_name
from pycontw_assets.load.readers.old_columns import OLD_COLUMNS, OldColumn, is_never_given
from pycontw_assets.load.readers.view import Dialect, View, ViewColumn, literal
from pycontw_assets.load.schema import attendee_table_name
from pycontw_assets.records import Family

# Columns of our tables -> the category's old meaning. They are there once the field policy has them.
CATEGORIES = {
    "industry_category": "Industry of the employer, 0 to 16",
    "profession_category": "Profession by the job title, 0 to 21",
}
_FEWEST_SHOWN = 5  # people: a smaller class could point at somebody
_EMPTY_DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_DIGEST_LENGTH = 64
_PAID = ("paid", "true", "已繳費", "已付款", "已繳費有退款")
_NOT_PAID = ("not", "unpaid", "false", "未繳費", "未付款")
REFUNDED_IN_EXPORTS = "已繳費有退款"
_GENDERS = {"male": "Male / 男性", "female": "Female / 女性"}


def flat_attendees(family: Family, available: Mapping[str, Collection[str]], dialect: Dialect) -> View:
    """Return the view of a family. ``available``: table -> its columns, of those that are there.

    There is our table, the one that was set aside, or both.
    """
    table = attendee_table_name(family)
    history = available.get(set_aside_name(table), ())
    ours = available.get(table, ())
    categories = [name for name in CATEGORIES if name in ours]
    parts = [_of_ours(table, ours, categories, dialect)] if ours else []
    if history:
        parts.append(
            _of_history(table, history, categories, dialect) + only_years_without_us(table, available, dialect)
        )
    return View(
        name=f"kktix_ticket_{family}_attendees",
        description=f"Tickets of the {family} family with the column names and meanings of the organisers' older "
        "tables, former years included where their table was set aside.",
        columns=(
            *(ViewColumn(name=c.name, type=c.type, description=c.description, sources=_sources(c, table, ours))
              for c in OLD_COLUMNS),
            ViewColumn(name="updated_at", type="TIMESTAMP", sources=((table, "updated_at"),),
                       description="When KKTIX last changed the attendee."),
            *(ViewColumn(name=name, type="INT64", sources=((table, name),),
                         description=f"{CATEGORIES[name]}; 0: unknown, or fewer than {_FEWEST_SHOWN} people of the "
                         "edition.") for name in categories),
        ),
        query="\nUNION ALL\n".join(parts),
    )  # fmt: skip


def paid_day(dialect: Dialect) -> str:
    """Return the expression for the day of the payment over a table of ours."""
    return f"CASE WHEN {IS_PAID} THEN {dialect.day_in_taipei('COALESCE(paid_at, updated_at, first_seen_at)')} END"


IS_PAID = "(is_paid OR paid_at IS NOT NULL)"


def day_of_history(dialect: Dialect) -> str:
    """Return the expression for the day of the payment over an old table."""
    return f"SUBSTR(REPLACE({dialect.cast('paid_date', 'STRING')}, '/', '-'), 1, 10)"


def year_of_history(dialect: Dialect) -> str:
    """Return the expression for the year of an old row: there is no other trace of the edition."""
    return f"SUBSTR({dialect.cast('paid_date', 'STRING')}, 1, 4)"


def payment_of_history(available: Collection[str], dialect: Dialect) -> str:
    """Return the expression for the old row's payment: paid, not, or a word that nobody here knows."""
    if "payment_status" not in available:
        return dialect.cast("NULL", "STRING")
    status = dialect.cast("payment_status", "STRING")
    words = {"paid": _PAID, "not": _NOT_PAID}
    cases = " ".join(
        f"WHEN LOWER({status}) IN ({', '.join(map(literal, spellings))}) THEN {literal(word)}"
        for word, spellings in words.items()
    )
    return f"CASE {cases} ELSE {status} END"


def only_years_without_us(table: str, available: Collection[str], dialect: Dialect) -> str:
    """Return the condition that leaves out the years of which our table holds an edition: no ticket counts twice."""
    if table not in available:
        return ""
    editions = f"SELECT edition FROM {dialect.table(table)} WHERE edition IS NOT NULL"  # noqa: S608 - plain names
    return f"\nAND COALESCE({year_of_history(dialect)}, '') NOT IN ({editions})"


def _of_ours(table: str, available: Collection[str], categories: Collection[str], dialect: Dialect) -> str:
    given = {
        "payment_status": f"CASE WHEN {IS_PAID} THEN 'paid' ELSE 'not' END",
        "paid_date": paid_day(dialect),
        "gender": _old_spelling("gender", _GENDERS),
    }
    columns = [f"{given.get(c.name) or c.from_ours(available, dialect)} AS {c.name}" for c in OLD_COLUMNS]
    columns.append("updated_at")
    columns += [f"{_hidden_if_rare(name, dialect)} AS {name}" for name in categories]
    return _select(columns, dialect.table(table))


def _of_history(table: str, available: Collection[str], categories: Collection[str], dialect: Dialect) -> str:
    email = f"CASE WHEN LENGTH(email) = {_DIGEST_LENGTH} THEN NULLIF(email, '{_EMPTY_DIGEST}') END"
    given = {
        "payment_status": payment_of_history(available, dialect),
        "paid_date": day_of_history(dialect),
        "email": email if "email" in available else dialect.cast("NULL", "STRING"),
    }
    columns = [f"{given.get(c.name) or c.from_history(available, dialect)} AS {c.name}" for c in OLD_COLUMNS]
    columns.append(f"{dialect.cast('NULL', 'TIMESTAMP')} AS updated_at")
    columns += [f"{dialect.cast('NULL', 'INT64')} AS {name}" for name in categories]
    source = dialect.table(set_aside_name(table))
    return f"{_select(columns, source)}\nWHERE TRUE"


def _old_spelling(column: str, spellings: Mapping[str, str]) -> str:
    cases = " ".join(f"WHEN {literal(new)} THEN {literal(old)}" for new, old in spellings.items())
    return f"CASE {column} {cases} ELSE {column} END"


def _hidden_if_rare(category: str, dialect: Dialect) -> str:
    people = f"COUNT(DISTINCT email_sha256) OVER (PARTITION BY edition, {category})"
    return f"CASE WHEN {people} >= {_FEWEST_SHOWN} THEN {dialect.cast(category, 'INT64')} ELSE 0 END"


def _select(columns: Collection[str], source: str) -> str:
    return "SELECT\n  " + ",\n  ".join(columns) + f"\nFROM {source}"


_MADE_OF = {
    "payment_status": ("is_paid", "paid_at"),
    "paid_date": ("paid_at", "updated_at", "first_seen_at"),
}


def _sources(column: OldColumn, table: str, available: Collection[str]) -> tuple[tuple[str, str], ...]:
    if is_never_given(column):
        return ()
    ours = _MADE_OF.get(column.name, column.ours)
    return tuple((table, name) for name in ours if name in available)
