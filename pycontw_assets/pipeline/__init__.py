"""One poll, without Dagster: composition root, reading the world, deciding, recording, the steps."""
