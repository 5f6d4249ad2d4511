"""A Snowflake-compatible warehouse on this machine: fakesnow's SQL translation on DuckDB, our own server.

    __main__      the process: home, lock, port, signals
    server        HTTP: log in, run a statement, end a session
    answers       the answer to a statement, once for each request
    registry      the sessions there are; ends transactions whose client is gone
    session       one client: current database, parameters, transaction
    statements    which part runs which statement
    commands      the statements sqlglot does not know
    words, task_syntax                  how those are read
    scripting                           BEGIN … END
    tasks, task_ddl, task_options       tasks, their graphs, the statements about them
    scheduler, task_run, task_history   when they run, how, and what is remembered of it
    translate, expressions, functions   Snowflake SQL to DuckDB SQL
    catalog, metadata                   the databases and what is kept about their objects
    ddl, columns, alter, show, streams, merge, copy, load, stages, infer, variant
                                        the statements themselves
    transactions, bindings, results, errors, names                      what they share

`python -m caves_dagster.local.warehouse --home DIR` starts it. State is under DIR/warehouse; the address is
in DIR/warehouse/endpoint.json once it serves.

Where it differs from Snowflake (streams' differences are at the top of `streams.py`, those of tasks of
`tasks.py`, those of blocks of `scripting.py`):

Transactions
- Any failed statement ends its transaction, as TRANSACTION_ABORT_ON_ERROR = TRUE does on Snowflake. What
  follows fails with 625 until the client closes it; its COMMIT fails too, so that no lost row goes
  unnoticed.
- Snapshot isolation, where Snowflake has READ COMMITTED: a transaction sees the data as of its first
  statement. A row another transaction has changed is an immediate 625, where Snowflake waits for the lock:
  LOCK_TIMEOUT is accepted and does nothing. Roll back and run the transaction again.
- An open transaction whose client is silent for 10 s (an option) is rolled back; on Snowflake it takes
  hours, or somebody who waits for its lock.
- One transaction writes to one database. CURRENT_TIMESTAMP stands still within it.
- TRUNCATE belongs to its transaction and can be rolled back; rely on neither, write DELETE.

Data
- Time zone UTC only; timestamps have microseconds. INTEGER and NUMBER(38, 0) have 64 bits.
- AVG and the division of numbers give floating point; SUM stays exact.
- Numbers inside a VARIANT: integers of any length are kept, decimals have the 17 digits of a double. 18.50
  and 18.5 are the same number and print as 18.5. Keys stay in the order they were written.
- A VARIANT string keeps its JSON quotes where it becomes text without a cast (a path compared with a literal
  apart). Cast it: `v:x::VARCHAR`.
- PARSE_JSON refuses everything that is not JSON (trailing commas, NaN, 1e400), not duplicate keys only.
- VARCHAR(n) is refused beyond n as on Snowflake, but the message names neither value nor column, except
  from COPY.
- Names are not case-sensitive even when quoted.

Statements
- Streams, internal stages, COPY from Parquet with ON_ERROR = ABORT_STATEMENT; no other format, no external
  stage, no pipes, dynamic tables, sequences, procedures, INSERT ALL, SWAP WITH, AT | BEFORE,
  RESULT_SCAN in a larger query, MERGE … WHEN NOT MATCHED BY SOURCE. These are refused, with error 2.
- ALTER COLUMN … SET DATA TYPE makes a VARCHAR longer or gives a NUMBER more digits, and nothing else.
- Roles, warehouses and grants are accepted and mean nothing. Put them into scripts only Snowflake runs.
- TEMPORARY tables, stages and file formats end with their session, but other sessions see them.
- One user, one account; what it runs on is trusted.
"""
