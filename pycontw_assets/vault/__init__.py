"""The encrypted store of raw orders, in a folder or a bucket. The only place where personal data rests."""
