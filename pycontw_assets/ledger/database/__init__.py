"""The database under the ledger: how it is opened, its tables, and how an older one is brought up to date."""
