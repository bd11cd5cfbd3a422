"""What the ledger keeps of KKTIX's webhook: which events are due, what slugs mean, when deliveries came. No person."""
