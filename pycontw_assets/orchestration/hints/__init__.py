"""The sensor that wakes the pipeline when KKTIX's webhook hinted at news."""
