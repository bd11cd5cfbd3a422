"""A ledger, a vault and the world around them as an older version left them, and what has to become of them."""
