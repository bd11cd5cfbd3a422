"""The client_options of every HTTP client: time-outs, retries, safe errors, rate limits. No database."""
