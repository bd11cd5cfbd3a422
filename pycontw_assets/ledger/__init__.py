"""The memory: pseudonyms, intents and outcomes, one module per family of tables, on SQLite or PostgreSQL."""
