"""A wine merchant's sales from Kafka and batch files into Snowflake, with Dagster."""

import gc

# Starting a process is mostly importing, which makes objects that stay. To look through them for garbage
# after every 700 new ones, as Python does, took a twentieth of the time.
gc.set_threshold(10_000)
