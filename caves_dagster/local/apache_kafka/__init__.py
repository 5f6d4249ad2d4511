"""A real Apache Kafka without Docker: one KRaft node from its Maven artifacts, on 127.0.0.1.

For developing and testing against what the embedded broker lacks: topic ids that last, transactions,
retention, compaction, a log that survives a restart. `kafka/pom.xml` says which version; Java and Maven are
needed.

home/kafka/                data/ (the log), server.properties, address.json, endpoint.json while it answers
home/log/kafka.log         what it printed
home/run/kafka.json        which process it is
home/cache/                the class path, by the pom's content; the jars are in Maven's own repository
"""
