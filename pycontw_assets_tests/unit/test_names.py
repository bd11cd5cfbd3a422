"""Every name in Klaviyo is put together and read back by one pair of functions."""

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

import pycontw_assets
from pycontw_assets.records import EventPartition
from pycontw_assets.send_email import names

PACKAGE = Path(pycontw_assets.__file__).parent
PARTITION = EventPartition(90001, "2031", "individual")
NOON = datetime(2031, 6, 1, 12, tzinfo=timezone.utc)
# A changed name would hide from us what earlier releases made in Klaviyo.
NAMES = {
    names.ticket_holder_list(PARTITION): "pycontw-2031-individual-90001-ticket-holders",
    names.pool_list("2031", 7): "pycontw-2031-invitations-07",
    names.campaign("2031", NOON, "9f2c4a7d"): "pycontw-2031-invite-20310601T1200Z-9f2c4a7d",
    names.template("2031", "abcd"): "pycontw-2031-invitation-abcd",
    names.batch_key_property("2031"): "pycontw_2031_invite_key",
    names.ticket_property("2031"): "pycontw_2031_ticket",
}


@pytest.mark.parametrize(("made", "published"), NAMES.items())
def test_names_stay_as_they_are_in_the_account(made: str, published: str) -> None:
    assert made == published


def test_every_composed_name_is_read_back() -> None:
    assert names.ticket_holder_list_partition(names.ticket_holder_list(PARTITION)) == PARTITION
    assert names.is_pool_list(names.pool_list("2031", 7), "2031")
    assert not names.is_pool_list(names.pool_list("2030", 7), "2031")
    assert names.campaign_batch_key(names.campaign("2031", NOON, "9f2c4a7d"), "2031") == "9f2c4a7d"


@pytest.mark.parametrize("name", ["pycontw-２０３１-individual-1", "pycontw-2031-individual-" + "9" * 19])
def test_a_list_of_another_name_is_no_list_of_ours(name: str) -> None:
    assert names.ticket_holder_list_partition(f"{name}-ticket-holders") is None


def test_names_are_written_in_one_file_each() -> None:
    pattern = re.compile(r"-invitations-|-invite-|-invitation-\{|_invite_key|-ticket-holders|ods_kktix_ticket_")
    rooms = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts and "play" not in path.parts]
    using = {path.relative_to(PACKAGE).as_posix() for path in rooms if pattern.search(path.read_text(encoding="utf-8"))}
    assert using == {"send_email/names.py", "load/schema.py"}
