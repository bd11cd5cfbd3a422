"""The commands, one file each: its arguments, its question and its printing. Personal data is never printed.

A module has one ``add_to(commands)`` that registers its command; ``cli`` names the commands by group. A command builds
the clients in its own ``_run`` function and passes them on.
"""
