"""Keep the ledger in step with vault, tables and mail service when a person corrects or restores one of them."""
