"""``pycontw-assets drill``: an opening day of ticket sales in a minute, everything that can go wrong included.

``script`` says what happens when, ``sale`` lets it happen, ``play`` runs the polls in between and has it judged;
``waits`` and ``plot`` show how long buyers waited.
"""
