"""The assets that report on an edition, at the end of their branches."""
