"""The encrypted store of orders, in a folder or a bucket. Personal data rests nowhere else."""
