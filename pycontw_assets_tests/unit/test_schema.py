"""The tables follow the policy, and statements are made of plain names only."""

import pytest

from pycontw_assets.deidentify.policy import Column, load_policy
from pycontw_assets.load.bigquery_warehouse import merge_statement
from pycontw_assets.load.schema import attendee_tables, identifier

TABLES = attendee_tables(load_policy().columns)


def test_there_is_one_table_per_family_and_all_have_the_same_columns() -> None:
    assert [table.name for table in TABLES.values()] == [
        "ods_kktix_ticket_corporate_attendees",
        "ods_kktix_ticket_individual_attendees",
        "ods_kktix_ticket_reserved_attendees",
    ]
    assert len({table.columns for table in TABLES.values()}) == 1


def test_every_column_says_what_it_is_and_where_it_comes_from() -> None:
    assert all(column.description and column.source for column in TABLES["reserved"].columns)


def test_the_columns_are_those_of_the_policy_and_two_of_the_load() -> None:
    table = TABLES["individual"]
    assert table.content_columns == tuple(column.name for column in load_policy().columns)
    assert [column.name for column in table.columns[-2:]] == ["content_digest", "loaded_at"]


def test_only_the_key_columns_are_required() -> None:
    required = [column.name for column in TABLES["individual"].columns if column.mode == "REQUIRED"]
    assert required == ["partition_key", "event_id", "attendee_id"]


@pytest.mark.parametrize("name", ["", "a b", "a;drop", "Ünicode", "1st", "a.b", "a--", "UPPER", "a" * 129])
def test_a_name_that_could_change_a_statement_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain name"):
        identifier(name)


def test_a_column_with_such_a_name_makes_no_table() -> None:
    hostile = Column(name="x) SELECT 1 --", type="STRING", description="", source="")
    with pytest.raises(ValueError, match="not a plain name"):
        attendee_tables([*load_policy().columns, hostile])


def test_columns_without_a_key_make_no_table() -> None:
    with pytest.raises(ValueError, match="lack attendee_id, event_id"):
        attendee_tables([Column(name="partition_key", type="STRING", description="", source="")])


def test_one_statement_with_one_parameter_replaces_a_partition() -> None:
    statement = merge_statement(TABLES["individual"], "ods.target", "staging")
    assert statement.count("?") == 1
    assert ";" not in statement
    assert statement.startswith("MERGE INTO ods.target t USING staging s")
