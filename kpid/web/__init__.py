"""The pages behind the links in messages: off unless ``web:`` is configured, small enough to be looked through at once.

``wire`` reads requests strictly and writes answers, ``pages`` makes HTML, ``server`` holds the sockets, ``doing`` joins them to
what kpid does.
"""
