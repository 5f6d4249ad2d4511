"""Task mode: a shop's transformations run by Snowflake's own tasks, while Dagster lands, looks on and checks.

Which mode is on is a fact in the warehouse: the shop's root task is started, or it is not (`mode.py`).
"""
