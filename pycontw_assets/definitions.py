"""Dagster loads this module. Commands build definitions of their own, and do not import it."""

from pycontw_assets.api.garbage_collection import collect_rarely
from pycontw_assets.orchestration.graph.build import build_definitions

collect_rarely()
defs = build_definitions()
