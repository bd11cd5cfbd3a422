"""The jobs the sensor and ``poll`` ask for. One job, one partitions definition: access and load run apart."""

from __future__ import annotations

from typing import Any

from dagster import AssetSelection, define_asset_job

from pycontw_assets.pipeline.reconcile import ACCESS_CHAIN, table_asset
from pycontw_assets.records import FAMILIES

grant_access_job = define_asset_job(
    "grant_access_job",
    selection=AssetSelection.assets(*ACCESS_CHAIN),
    description="One event: read orders, let buyers in, take refunded ones off, invite newcomers.",
)
klaviyo_template_job = define_asset_job(
    "klaviyo_template_job",
    selection=AssetSelection.assets("klaviyo_template"),
    description="Make the invitation template of the present text.",
)
load_jobs = [
    define_asset_job(
        f"load_{table_asset(family)}_job",
        selection=AssetSelection.assets(table_asset(family)),
        description=f"One event: replace its rows in the {family} table.",
    )
    for family in FAMILIES
]
invitation_funnel_job = define_asset_job(
    "invitation_funnel_job",
    selection=AssetSelection.assets("invitation_funnel"),
    description="Write the funnel of the live edition, from the order to the click.",
)
jobs: list[Any] = [grant_access_job, klaviyo_template_job, *load_jobs, invitation_funnel_job]
