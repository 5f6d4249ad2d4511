"""A shop's tables, streams and views brought to what `sql/` says, without losing a row.

declared   what the setup statements are about
found      what the database has of it
step       one line of a plan
plan       what has to be done, and what nobody but a person can decide; no I/O
carry_out  the plan shown, done and recorded
"""
