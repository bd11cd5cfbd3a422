"""How the daemon starts a run."""
