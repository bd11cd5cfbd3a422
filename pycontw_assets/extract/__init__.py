"""Stage 1, KKTIX: which events to poll, and the orders of each as one snapshot in the vault."""
