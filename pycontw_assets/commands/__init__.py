"""The commands by group, each thin: what may be typed, whom to ask, what to print. Personal data is never printed.

A module has one ``add_to(commands)`` that registers its commands; ``cli`` names the modules. What a command decides
or does lives in ``orchestration``.
"""
