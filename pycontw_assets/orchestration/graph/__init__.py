"""The whole graph: assets, checks, jobs and sensors, wired to real services or to replacements."""
