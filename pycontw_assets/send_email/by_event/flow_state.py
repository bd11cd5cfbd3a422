"""Whether the flow that answers the events is there and at work. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pycontw_assets.send_email.by_event.events_client import Metric
from pycontw_assets.send_email.names import INVITATION_METRIC

SETUP = "docs/setup.md (“By event”)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """The flows of the invitation's metric. ``problem``: why no event may be handed over now, with the fix.

    ``metric_id`` is ``None`` where no such event was ever recorded. ``mail_metrics``: id -> name of all metrics.
    """

    metric_id: str | None
    flow_ids: frozenset[str]
    problem: str | None
    mail_metrics: dict[str, str]

    def ids_of(self, *names: str) -> list[str]:
        """Return the ids of the metrics with these names."""
        return [metric_id for metric_id, name in self.mail_metrics.items() if name in names]


def flow_state(metrics: Iterable[Metric]) -> FlowState:
    """Judge what Klaviyo says of its metrics and flows.

    Names of metrics are unique per integration only, so several may have the one that is looked for.
    """
    metrics = list(metrics)
    ours = [metric for metric in metrics if metric.name == INVITATION_METRIC]
    flows = [flow for metric in ours for flow in metric.flows]
    live = [flow for flow in flows if flow.is_live]
    return FlowState(
        metric_id=ours[0].metric_id if ours else None,
        flow_ids=frozenset(flow.flow_id for flow in flows),
        problem=_problem(has_metric=bool(ours), flows=len(flows), live=len(live)),
        mail_metrics={metric.metric_id: metric.name for metric in metrics},
    )


def _problem(*, has_metric: bool, flows: int, live: int) -> str | None:
    if live == 1:
        return None
    if live > 1:
        return (
            f"{live} live flows start with the metric {INVITATION_METRIC}, and each would send a mail; leave one live "
            "in Klaviyo"
        )
    if flows:
        return f"no flow of the metric {INVITATION_METRIC} is live; set it live in Klaviyo"
    if has_metric:
        return f"no flow starts with the metric {INVITATION_METRIC}; make it as {SETUP} says"
    return (
        f"Klaviyo does not know the metric {INVITATION_METRIC} yet; run `pycontw-assets doctor --test-event`, then "
        f"make the flow as {SETUP} says"
    )
