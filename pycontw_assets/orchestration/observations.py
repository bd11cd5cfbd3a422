"""Show in Dagster what a tick saw: one observation for the shop and one for each event, and the partitions it found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dagster import AssetMaterialization, AssetObservation, DagsterInstance, DynamicPartitionsDefinition

from pycontw_assets.orchestration.metadata import bullets, markdown_table
from pycontw_assets.pipeline.observe import Tick
from pycontw_assets.records import FAMILIES, EventPartition, Family

# As Dagster spells the tag; its constant is not part of the public interface.
DATA_VERSION_TAG = "dagster/data_version"

kktix_events = DynamicPartitionsDefinition(name="kktix_events")
family_events: dict[Family, DynamicPartitionsDefinition] = {
    family: DynamicPartitionsDefinition(name=f"kktix_{family}_events") for family in FAMILIES
}


def observations(tick: Tick) -> Iterator[AssetObservation | AssetMaterialization]:
    """Yield what this tick saw, so that "polled, nothing new" is visible."""
    unmatched = [(event.event_id, event.name, event.reason) for event in tick.discovery.unmatched]
    yield AssetMaterialization(
        "kktix",
        # The shop has no version: a constant one keeps the orders from looking out of date after every tick.
        tags={DATA_VERSION_TAG: "listed"},
        metadata={
            "edition": tick.discovery.edition or "none",
            "events": len(tick.discovery.partitions),
            "requests": tick.requests,
            "unmatched_events": len(unmatched),
            "left_alone": markdown_table(["id", "name", "why"], unmatched),
            "problems": bullets((*tick.problems, *tick.warnings)),
        },
    )
    for key, fact in sorted(tick.facts.items()):
        if fact.book is not None:
            metadata: dict[str, Any] = {"in_the_book": len(fact.book.ids), "decision": tick.decisions[key].reason}
            yield AssetObservation("raw_kktix_orders", partition=key, metadata=metadata)


def partition_keys(tick: Tick, imports: Iterable[EventPartition] = ()) -> dict[str, list[str]]:
    """Return, by dynamic partitions definition, the keys that must exist in it: of events and of imports."""
    partitions = [*(fact.partition for fact in tick.facts.values()), *imports]
    families = {
        str(family_events[family].name): [p.key for p in partitions if p.family == family] for family in FAMILIES
    }
    return {str(kktix_events.name): [p.key for p in partitions], **families}


def forget_partition(instance: DagsterInstance, partition: EventPartition) -> None:
    """Delete the keys in Dagster that a renamed event had before. Their history stays."""
    of_family = family_events[partition.family].name
    for definition in (kktix_events, *family_events.values()):
        name = str(definition.name)
        for key in instance.get_dynamic_partitions(name):
            is_right = key == partition.key and name in (kktix_events.name, of_family)
            if key.endswith(f"-{partition.event_id}") and not is_right:
                instance.delete_dynamic_partition(name, key)


def missing_partitions(
    tick: Tick, instance: DagsterInstance, imports: Iterable[EventPartition] = ()
) -> dict[str, list[str]]:
    """Return those of the keys that Dagster does not have yet, or not any more."""
    missing = {
        name: sorted(set(keys) - set(instance.get_dynamic_partitions(name)))
        for name, keys in partition_keys(tick, imports).items()
    }
    return {name: keys for name, keys in missing.items() if keys}
