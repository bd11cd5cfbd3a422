"""What Dagster loads: the assets, jobs and sensors, wired to real services, or to replacements for tests."""

from __future__ import annotations

from dagster import Definitions, in_process_executor

from pycontw_assets.orchestration.assets import (
    attendee_table_assets,
    gather_guestlist,
    gather_town,
    kktix,
    klaviyo,
    klaviyo_campaign,
    klaviyo_list,
    klaviyo_template,
    raw_kktix_orders,
)
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.resources import Services, poll_interval_seconds
from pycontw_assets.orchestration.sensors import orders_sensor, tables_sensor


def build_definitions(services: Services | None = None, *, interval_seconds: int | None = None) -> Definitions:
    """The whole graph. Without arguments it reads the environment, but only once something runs."""
    return Definitions(
        assets=[
            kktix,
            raw_kktix_orders,
            *attendee_table_assets(),
            gather_guestlist,
            klaviyo_template,
            klaviyo_list,
            klaviyo_campaign,
            gather_town,
            klaviyo,
        ],
        jobs=jobs,
        sensors=[orders_sensor(interval_seconds or poll_interval_seconds()), tables_sensor],
        resources={"services": services or Services()},
        executor=in_process_executor,
    )


defs = build_definitions()
