"""The simulated Klaviyo, revision 2026-07-15.

``account.py`` holds the state and its changes over time. ``api.py`` is the entry point; the ``*_api.py`` modules hold
the endpoints by subject. ``schema.py`` describes strict request bodies, ``query.py`` query strings, ``views.py``
resources as JSON:API, and ``limits.py`` the rate limits.
"""
