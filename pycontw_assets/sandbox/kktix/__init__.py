"""The simulated KKTIX: ``box_office.py`` is its state and API; ``people.py`` and ``forms.py`` invent the buyers."""
