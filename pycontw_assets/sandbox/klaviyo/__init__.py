"""The simulated Klaviyo, revision 2026-07-15.

``account.py`` is the state and what happens by itself as time passes. ``api.py`` is the door; behind it the
endpoints stand in ``*_api.py`` by subject, with ``schema.py`` for strict request bodies, ``query.py`` for query
strings, ``views.py`` for resources as JSON:API and ``limits.py`` for the rate limits.
"""
