"""Tickets to access: from a KKTIX order to the invitation mail, every five minutes.

The five stages, in order, one folder each:

1. ``extract``     orders and attendees from KKTIX
2. ``deidentify``  attendees to rows without personal data
3. ``load``        rows to the three warehouse tables
4. ``authorize``   the Gather Town guest list (and the video link)
5. ``send_email``  Klaviyo: template, ticket-holder list, campaign

Import rule: ``cli, definitions -> orchestration -> stages -> vault, ledger -> records, pseudonyms, api_client``.
A stage imports neither another stage nor Dagster; only ``orchestration/resources.py`` imports ``settings``.
"""
