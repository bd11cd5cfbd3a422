"""Stage 2: attendees to rows without personal data and to holders, by the rules in ``policy.yaml``."""
