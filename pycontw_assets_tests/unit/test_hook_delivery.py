"""A delivery of KKTIX's webhook is a hint: event names become digests, and everything else in it is never touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pycontw_assets.extract.hook.delivery import UNKNOWN, name_digest, read_delivery
from pycontw_assets.ledger.hints.deliveries import ANY_EVENT

NAME, SLUG = "PyCon TW 2031 Registration: Individual", "pycontw-2031-individual"


def notification(kind: str = "order_activated_paid", name: Any = NAME, slug: Any = SLUG) -> dict[str, Any]:
    contact = {"name": "測試甲", "email": "buyer-one@example.org", "mobile": "0900000001"}
    return {"type": kind, "event": {"name": name, "slug": slug}, "order": {"id": 1}, "contact": contact}


def body(*notifications: Any, **more: Any) -> bytes:
    return json.dumps({"batch_id": "b-1", "notifications": list(notifications), **more}).encode()


def test_orders_of_one_event_are_one_hint() -> None:
    delivery = read_delivery(body(notification(), notification("order_cancelled"), notification("a_new_type")))
    [hint] = delivery.hints
    assert hint.name_digest == name_digest(NAME)
    assert delivery.kinds == {"hint"}


def test_no_value_of_a_delivery_is_kept_but_digests() -> None:
    kept = repr(read_delivery(body(notification())))
    assert not any(word in kept for word in ("example.org", "測試甲", "0900", NAME, SLUG))


def test_a_test_delivery_is_about_no_event() -> None:
    delivery = read_delivery(body(notification(name="Event Name", slug="event-slug")))
    assert (delivery.hints, delivery.kinds) == (frozenset(), {"test"})


def test_a_delivery_without_notifications_says_nothing() -> None:
    assert read_delivery(body()).kinds == frozenset()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"null", b"[]", b"{}", b'{"notifications": 1}', b"[" * 200_000, b"NaN"),
        *(body(None), body({}), body({"event": 5}), body(notification(name=5)), body(notification(slug=""))),
        *(body(notification(name="x" * 501)), body(*[notification()] * 1001)),
    ],
    ids=range(15),
)
def test_an_unknown_shape_makes_every_event_due(content: bytes) -> None:
    assert read_delivery(content) == UNKNOWN
    assert {hint.subject for hint in UNKNOWN.hints} == {ANY_EVENT}


def test_one_unknown_part_does_not_hide_the_others() -> None:
    delivery = read_delivery(body({}, notification()))
    assert len(delivery.hints) == 2
    assert delivery.kinds == {"hint", "unknown"}


def test_spellings_that_look_alike_are_one_name() -> None:
    assert name_digest("PyCon　TW 2031  ") == name_digest("pycon tw 2031")
    assert name_digest("PyCon TW 2031") != name_digest("PyCon TW 2032")
