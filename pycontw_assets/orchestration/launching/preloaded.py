"""Import, once for many runs, what every run needs: Dagster and the graph. It opens nothing and reads no setting.

pandas, DuckDB and Google's libraries are left out: a run of the access chain does without them, and some of them start
threads, which a fork does not copy.
"""

import dagster._cli.api  # noqa: F401
import sqlalchemy.dialects.sqlite  # noqa: F401

import pycontw_assets.orchestration.graph.build
import pycontw_assets.orchestration.storage.in_folder  # noqa: F401
from pycontw_assets.api.garbage_collection import collect_rarely

collect_rarely()
