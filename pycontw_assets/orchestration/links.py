"""Where a person looks at what the pipeline works with: pages of the services, and the tables. No address holds a key.

In production these are the services' own pages; in a sandbox it is the box office, whose one page shows all three.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode, urlsplit

from dagster import MetadataValue

from pycontw_assets.settings import Settings

_KLAVIYO = "https://www.klaviyo.com"


@dataclass(frozen=True, slots=True)
class Links:
    """``kktix_url`` is any address at KKTIX, or at the sandbox; ``duckdb_file`` counts where no project does."""

    is_sandbox: bool
    kktix_url: str
    duckdb_file: Path
    dataset: str
    bigquery_project: str | None = None
    table_prefix: str = ""
    views_dataset: str | None = None

    @property
    def kktix(self) -> str:
        """The organiser's events. KKTIX's interface tells an event's number, but not the name its page has there."""
        return self._page(f"{_origin(self.kktix_url)}/dashboard")

    def campaign(self, campaign_id: str) -> str:
        return self._page(f"{_KLAVIYO}/campaign/{_quoted(campaign_id)}")

    def mailing_list(self, list_id: str | None) -> str:
        """All lists while there is none yet."""
        return self._page(f"{_KLAVIYO}/list/{_quoted(list_id)}" if list_id else f"{_KLAVIYO}/lists")

    def template(self, template_id: str) -> str:
        return self._page(f"{_KLAVIYO}/email-editor/{_quoted(template_id)}/edit")

    def _page(self, real: str) -> str:
        return f"{_origin(self.kktix_url)}/" if self.is_sandbox else real

    @property
    def warehouse(self) -> Literal["duckdb", "bigquery"]:
        return "bigquery" if self.bigquery_project else "duckdb"

    def table_name(self, name: str) -> str:
        """As SQL spells it, with what stands before it."""
        return self._full_name(self.dataset, self.table_prefix + name)

    def table(self, name: str) -> MetadataValue:
        """The table in Google's console, or the file that holds it."""
        return self._place(self.dataset, self.table_prefix + name)

    def view_name(self, name: str) -> str:
        return self._full_name(self.views_dataset or "", name)

    def view(self, name: str) -> MetadataValue:
        return self._place(self.views_dataset or "", name)

    def _full_name(self, dataset: str, name: str) -> str:
        return ".".join(part for part in (self.bigquery_project, dataset, name) if part)

    def _place(self, dataset: str, name: str) -> MetadataValue:
        if self.bigquery_project is None:
            return MetadataValue.path(self.duckdb_file)
        named = {"p": self.bigquery_project, "d": dataset, "t": name, "page": "table"}
        return MetadataValue.url(f"https://console.cloud.google.com/bigquery?{urlencode(named)}")


def _quoted(remote_id: str) -> str:
    """Return an id of the service as part of an address: whatever it holds, it ends no address and begins none."""
    return quote(remote_id, safe="")


def _origin(url: str) -> str:
    """Without user, password, path or query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def links_of(settings: Settings) -> Links:
    """Return the links that belong to the settings."""
    project = settings.bigquery_project if settings.warehouse == "bigquery" else None
    return Links(
        is_sandbox=settings.pycontw_env == "sandbox",
        kktix_url=settings.kktix_api_url,
        duckdb_file=settings.duckdb_file,
        dataset=settings.bigquery_dataset,
        bigquery_project=project,
        table_prefix=settings.table_prefix,
        views_dataset=settings.views_dataset,
    )
