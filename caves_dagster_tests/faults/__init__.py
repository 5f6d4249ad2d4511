"""SIGKILL at random moments of everything that can be killed, while events keep coming.

    plan.py        which process is killed and when, drawn from a seed
    ledger.py      a producer that goes on, and what it knows of every message it sent
    stack.py       the processes: Kafka, warehouse server, Dagster's daemon; killed and started again
    watch.py       how far PRODUCTION has come, looked at a few times a second
    executioner.py carries a plan out
    verdict.py     the ledger held against the tables
    report.py      the table

`python -m caves_dagster_tests.faults --kills 200 --seed 1`, or `make faults`.
"""
