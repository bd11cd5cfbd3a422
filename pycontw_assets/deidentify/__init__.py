"""De-identify: attendees to rows without personal data, by the rules in ``policy.yaml``."""
