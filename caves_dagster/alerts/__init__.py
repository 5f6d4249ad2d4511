"""Somebody is told: one message when something begins to fail, and one when it is over.

`runs.py` and `checks.py` read from Dagster's event log (`events.py`) what ended well or not; `incidents.py`
(pure) says of those facts what is an incident and who has still to be told; `messages.py` puts it into words;
`channels.py` delivers it to a webhook, by e-mail and to the log; `sensors.py` does these in turn, every ten
seconds.
"""
