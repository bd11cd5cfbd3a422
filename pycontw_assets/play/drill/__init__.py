"""``pycontw-assets drill``: an opening day of ticket sales in a minute, with every failure once.

``script`` says what happens when, ``sale`` lets it happen, ``play`` runs the polls in between and judges the outcome.
``waits`` and ``plot`` show how long buyers waited.
"""
