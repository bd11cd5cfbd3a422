"""A ledger, a vault and their world as an older version left them, and tests of their migration."""
