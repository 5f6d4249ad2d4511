"""A backlog on a real Kafka, drained by one Dagster run whose peak memory is measured.

`make backlog` (or `python -m caves_dagster_tests.backlog --help`) prints the table; the short form that holds
the same limits in CI is `caves_dagster_tests/real_kafka/test_backlog.py`.
"""
