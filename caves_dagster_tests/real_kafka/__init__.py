"""What only a real Kafka does: retention, topic ids, transactions, compaction, restarts.

Run by `make test-kafka`.
"""
