"""``invitation_funnel``: one row per edition and family, from the order to the click. Counts only.

What a few people did or met could point at them, so such counts under five are empty. Nothing and "not known" differ:
nothing is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pycontw_assets.load.schema import LOAD_COLUMNS, PARTITION_COLUMN, Table, TableColumn
from pycontw_assets.load.warehouse import Outcome, Warehouse, replace_rows
from pycontw_assets.records import Family

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SHOWN = 5  # people: a smaller count could point at somebody
_LITTLE = f" Empty while it is not known, and from 1 to {FEWEST_SHOWN - 1}."

COUNTS = {
    "tickets_ordered": "Seats that KKTIX ever listed. Empty while the orders cannot be read.",
    "tickets_paid": "Those of them that were ever seen as paid. Refunded ones stay.",
    "let_in": "People who were ever let in, once per access period: again after a refund and a new ticket.",
    "invited": "Those of them whose invitation the mail service took over.",
    "delivered": "Invitations that arrived, as the mail service counts. Empty while it is not known.",
    "clicked": "People who followed a link in it, as the mail service counts." + _LITTLE,
    "opened_inflated": "Opens as the mail service counts. Mail programs open mails by themselves: trust clicks."
    + _LITTLE,
    "unreachable": "People who were let in and whom the mail service does not mail." + _LITTLE,
    "bounced": "Invitations that came back." + _LITTLE,
    "unsubscribed": "People who left the newsletter by way of the invitation." + _LITTLE,
}
HIDDEN_WHILE_FEW = frozenset({"clicked", "opened_inflated", "unreachable", "bounced", "unsubscribed"})


def _column(name: str, kind: str, description: str, mode: str = "NULLABLE") -> TableColumn:
    return TableColumn(name=name, type=kind, mode=mode, description=description, source="funnel")


INVITATION_FUNNEL = Table(
    "invitation_funnel",
    "How far the people of an edition and family came, from the order to the click. Counts over the whole sale, "
    "without personal data.",
    (
        _column(PARTITION_COLUMN, "STRING", "Edition and family: one row.", "REQUIRED"),
        _column("edition", "STRING", "Conference year, four digits.", "REQUIRED"),
        _column("family", "STRING", "Ticket family: corporate, individual or reserved.", "REQUIRED"),
        *(_column(name, "INT64", text) for name, text in COUNTS.items()),
        _column("as_of", "TIMESTAMP", "When the oldest of the mail service's figures was read. Empty: there is none."),
        *LOAD_COLUMNS,
    ),
    keys=(PARTITION_COLUMN,),
)


def shown(name: str, count: int | None) -> int | None:
    """Return a count as it may be shown; ``None`` where it is not known or could point at somebody."""
    return None if name in HIDDEN_WHILE_FEW and count and count < FEWEST_SHOWN else count


def write_funnel(
    warehouse: Warehouse, edition: str, family: Family, *, counts: Mapping[str, int | None], as_of: datetime | None
) -> Outcome:
    """Replace the row of an edition and family. ``counts``: by name of column. Raise ``WarehouseError``."""
    key = f"{edition}-{family}"
    return replace_rows(warehouse, INVITATION_FUNNEL, key, _frame(edition, family, counts=counts, as_of=as_of))


def _frame(edition: str, family: Family, *, counts: Mapping[str, int | None], as_of: datetime | None) -> pd.DataFrame:
    import pandas as pd

    texts = {PARTITION_COLUMN: f"{edition}-{family}", "edition": edition, "family": family}
    columns: dict[str, Any] = {name: pd.Series([value], dtype="string[python]") for name, value in texts.items()}
    for name in COUNTS:
        columns[name] = pd.Series([shown(name, counts[name])], dtype="Int64")
    columns["as_of"] = pd.Series([as_of], dtype="datetime64[us, UTC]")
    frame: pd.DataFrame = pd.DataFrame(columns)
    return frame
