"""All that HTTP clients share: time-outs, retries, safe errors, rate limits, and log lines. No database."""
