"""Checks that hold the layers against each other: in every run, in a report, by the hour.

`check.py` says what a check is and runs one, `catalogue.py` which ones a shop has, `assets.py` makes them
Dagster's, `report.py` and `job.py` run them all and write down what they found.
"""
