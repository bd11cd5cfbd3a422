"""Keep vault, ledger, tables and services in step when a person corrects, moves or restores one of them."""
