"""KKTIX, Gather Town and Klaviyo simulated on one loopback port, with a page to play the organiser.

``pycontw-assets sandbox | dev | demo`` and the tests use it. It imports nothing else of this package and works out
the truth about tickets, guests and mail a second time: so it is an independent witness. All people in it are
invented. Nothing that a real service needs belongs here.

``world.py`` is the Python interface, ``server.py`` puts it on the network, ``oracle.py`` judges what happened.
``kktix/``, ``gather.py`` and ``klaviyo/`` are the services, ``page/`` is the page with its control API.
"""
