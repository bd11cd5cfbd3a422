"""The drill says so when an alarm got lost, came twice, or nobody heard that a channel is broken."""

from __future__ import annotations

import pytest
import requests

from pycontw_assets.play.drill.alarms import AlarmChannel, broken_promises
from pycontw_assets.play.drill.sale import BreakAlarmChannel, MendAlarmChannel, Sell
from pycontw_assets.play.drill.script import FEWEST_ORDERS, write_script

ALARM = ("attendee 7 cannot be mailed", "since noon")
DEAF = ("alarm channel 2 (json) has taken no message since noon", "look at it")


def promises(steady: list[tuple[str, str]], broken: list[tuple[str, str]], *, was_reported: bool = True) -> list[str]:
    """Judge two channels that took these messages."""
    with AlarmChannel() as one, AlarmChannel() as two:
        one.messages, two.messages = steady, broken
        return list(broken_promises(one, two, "cannot be mailed", was_reported=was_reported))


def test_an_alarm_that_reached_both_channels_in_time_breaks_nothing() -> None:
    assert promises([ALARM, DEAF], [ALARM]) == []


@pytest.mark.parametrize(
    ("steady", "broken", "was_reported", "finding"),
    [
        ([ALARM, ALARM, ALARM, DEAF], [ALARM], True, "2 messages were sent again"),
        ([DEAF], [ALARM], True, "the channel that works got no alarm"),
        ([ALARM, DEAF], [], True, "the broken channel never got the alarm"),
        ([ALARM], [ALARM], True, "nobody reported"),
        ([ALARM, DEAF], [ALARM], False, "nobody reported"),
    ],
)
def test_each_broken_promise_is_named(
    steady: list[tuple[str, str]], broken: list[tuple[str, str]], was_reported: bool, finding: str
) -> None:
    [text] = promises(steady, broken, was_reported=was_reported)
    assert text.startswith(finding)


def test_a_channel_takes_messages_while_it_works() -> None:
    with AlarmChannel() as channel:
        url, note = channel.url.replace("json", "http"), {"title": "a", "message": "b"}
        codes = []
        for channel.works in (True, False):
            codes.append(requests.post(url, json=note, timeout=5).status_code)
    assert codes == [200, 503]
    assert channel.messages == [("a", "b")]


@pytest.mark.parametrize("seed", range(5))
def test_every_day_has_a_broken_channel_and_an_alarm_within(seed: int) -> None:
    script = write_script(FEWEST_ORDERS, seed)
    [begun], [ended] = (
        [step.at for step in script if isinstance(step, kind)] for kind in (BreakAlarmChannel, MendAlarmChannel)
    )
    [raised] = [step.at for step in script if isinstance(step, Sell) and step.unsubscribed]
    assert begun < raised < ended
