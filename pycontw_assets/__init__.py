"""Tickets to access: from a KKTIX order to the invitation mail, every five minutes.

The five stages, in order, one folder each:

1. ``extract``     orders and attendees from KKTIX
2. ``deidentify``  attendees to rows without personal data
3. ``load``        rows to the three warehouse tables
4. ``authorize``   the Gather Town guest list (and the video link)
5. ``send_email``  Klaviyo: template, ticket-holder list, campaign

Import rule, never upwards and never from stage to stage: ``commands, play -> definitions -> orchestration ->
pipeline -> stages, alerts -> ledger, vault -> api, settings, records, pseudonyms``. ``sandbox`` imports nothing of the
others. Dagster is imported in ``orchestration`` and ``definitions`` only; ``pipeline/composition.py`` borrows the login
to BigQuery from Dagster's library for Google.
"""
