"""A wine merchant's sales from Kafka and batch files into Snowflake, with Dagster."""
