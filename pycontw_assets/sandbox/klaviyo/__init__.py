"""The simulated Klaviyo, revision 2026-07-15.

``account.py`` is the state and what happens by itself as time passes; ``schema.py`` the strict request bodies;
``query.py`` query strings; ``views.py`` resources as JSON:API; ``limits.py`` the rate limits; ``api.py`` the endpoints.
"""
