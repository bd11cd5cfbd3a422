"""KKTIX, Gather and Klaviyo once more, over real sockets: an independent witness for ``contract-check``.

It was written from the descriptions of the three interfaces alone (Klaviyo's is its OpenAPI description, revision
2026-07-15), without a look at ``pycontw_assets/sandbox/``, and it imports nothing of ``pycontw_assets``. So a mistake
that the program and its sandbox share shows here. It answers what ``contract-check`` reads, and refuses a question that
the descriptions do not allow. It has no writes.
"""
