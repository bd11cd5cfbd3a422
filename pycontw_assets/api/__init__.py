"""The manners of every HTTP client: time-outs, retries, safe errors, rate limits. No database."""
