"""The webhook of KKTIX in the ledger: which events are due, what slugs mean, when deliveries came. No person."""
