"""KKTIX, Gather Town and Klaviyo simulated on one loopback port, with a page to play the organiser.

Used by ``pycontw-assets sandbox | dev | demo`` and by the tests. It imports nothing else of this package, so that
it can serve as an independent witness: what it believes about tickets, guests and mail is worked out here a
second time. Everybody in it is invented. Nothing that a real service needs belongs here.

``world.py`` is the Python interface, ``server.py`` puts it on the network, ``oracle.py`` judges what happened.
"""
