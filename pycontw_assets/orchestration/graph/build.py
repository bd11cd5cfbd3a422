"""Build the definitions: all of them, once for each process that runs something."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dagster import (
    AssetsDefinition,
    AssetSpec,
    BetaWarning,
    Definitions,
    in_process_executor,
    with_source_code_references,
)

from pycontw_assets.extract.orders import BookReading
from pycontw_assets.orchestration.assets import (
    attendee_table_assets,
    discord_invites,
    gather_guestlist,
    gather_town,
    kktix,
    klaviyo,
    klaviyo_campaign,
    klaviyo_list,
    klaviyo_template,
    raw_kktix_orders,
)
from pycontw_assets.orchestration.hints.sensor import hints_sensor
from pycontw_assets.orchestration.history.editions import edition_assets
from pycontw_assets.orchestration.jobs import jobs
from pycontw_assets.orchestration.kktix_checks import kktix_checks
from pycontw_assets.orchestration.links import links_of
from pycontw_assets.orchestration.reporting.daily_sales import sales_asset
from pycontw_assets.orchestration.reporting.funnel import funnel_asset
from pycontw_assets.orchestration.resources import resources_of
from pycontw_assets.orchestration.sensors import orders_sensor
from pycontw_assets.pipeline.composition import Composition, settings_at_load


def build_definitions(
    root: Composition | None = None,
    *,
    interval_seconds: int | None = None,
    books: Mapping[int, BookReading] | None = None,
) -> Definitions:
    """Build the whole graph. Without arguments it reads the environment, but only once something runs.

    ``root``: the systems of a command that runs the graph itself. It shows no page, so its assets have no links to
    their code.
    ``books``: attendance books by event id that this process read a moment ago.
    """
    settings = root.settings if root else settings_at_load()
    links = links_of(settings)
    interval = interval_seconds or settings.poll_interval_seconds
    assets: list[AssetsDefinition | AssetSpec] = [
        kktix(links, interval),
        raw_kktix_orders,
        *attendee_table_assets(links),
        *edition_assets(links),
        sales_asset(links),
        gather_guestlist,
        discord_invites,
        klaviyo_template,
        klaviyo_list,
        klaviyo_campaign,
        gather_town,
        klaviyo,
        funnel_asset(links),
    ]
    return Definitions(
        assets=assets if root else _with_source(assets),
        asset_checks=[kktix_checks],
        jobs=jobs,
        # Without a webhook there is nothing to look for every few seconds.
        sensors=[orders_sensor(interval), *([hints_sensor()] if settings.kktix_hook_secret else [])],
        resources=resources_of(root or Composition(), settings, books),
        executor=in_process_executor,
    )


def _with_source(assets: Sequence[AssetsDefinition | AssetSpec]) -> Sequence[Any]:
    """Each asset with a link to its code. Dagster calls this interface beta, which is no news to who runs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        return with_source_code_references(assets)
