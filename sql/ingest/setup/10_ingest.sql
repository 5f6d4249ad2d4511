-- The tables of exactly-once ingestion, once per shop, in its raw schema.
CREATE SCHEMA IF NOT EXISTS {{ raw.schema }};

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.KAFKA_OFFSETS (
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id, empty where the broker has none',
    PARTITION_ID INTEGER NOT NULL COMMENT 'Kafka partition',
    NEXT_OFFSET INTEGER NOT NULL COMMENT 'The next offset to read',
    LAST_RECORD_OFFSET INTEGER COMMENT 'Offset of the last record consumed',
    LAST_RECORD_TIMESTAMP_MS INTEGER COMMENT 'Its timestamp, milliseconds since 1970; tells a recreated topic',
    UPDATED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When the position last moved',
    PRIMARY KEY (CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID)
) COMMENT = 'Position of record of each partition: where ingestion goes on';

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.INGEST_FENCE (
    ID INTEGER NOT NULL COMMENT 'Always 1',
    EPOCH INTEGER NOT NULL COMMENT 'Counts landing transactions; updating it is the lock',
    PRIMARY KEY (ID)
) COMMENT = 'One row: the lock of the writers of this shop';

INSERT INTO {{ raw.schema }}.INGEST_FENCE (ID, EPOCH)
SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM {{ raw.schema }}.INGEST_FENCE);

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.INGEST_GAPS (
    GAP_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the gap',
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id after the gap',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id after the gap',
    PARTITION_ID INTEGER NOT NULL COMMENT 'Kafka partition',
    OFFSET_FROM INTEGER COMMENT 'First offset that could not be read',
    OFFSET_TO INTEGER COMMENT 'Offset where ingestion went on; NULL: the end of what was lost is unknown',
    REASON VARCHAR(50) NOT NULL COMMENT 'RETENTION, LOG_TRUNCATED, TOPIC_RECREATED or NEW_CLUSTER',
    FOUND_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When ingestion came upon it',
    ACKNOWLEDGED_AT TIMESTAMP_LTZ COMMENT 'When somebody accepted it',
    ACKNOWLEDGED_BY VARCHAR(200) COMMENT 'Who accepted it',
    PRIMARY KEY (GAP_ID)
) COMMENT = 'Ranges of offsets that were or may have been lost before ingestion could read them';

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.INGEST_BATCHES (
    BATCH_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the batch; rows and dead letters carry it',
    EPOCH INTEGER NOT NULL COMMENT 'The fence when it was landed: the order of batches',
    RUN_ID VARCHAR(100) NOT NULL COMMENT 'Dagster run, or the process that landed it',
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id, empty where the broker has none',
    CONSUMED INTEGER NOT NULL COMMENT 'Messages read',
    LANDED INTEGER NOT NULL COMMENT 'Rows in the raw table',
    DEAD INTEGER NOT NULL COMMENT 'Rows in DEAD_LETTER_EVENTS',
    SKIPPED INTEGER NOT NULL COMMENT 'Offsets without a message: control records, aborted or compacted ones',
    BYTES INTEGER NOT NULL COMMENT 'Bytes of keys and values',
    PARTITIONS VARIANT NOT NULL COMMENT 'Array of {partition, from, to, landed, dead, types, classes}; to is exclusive',
    READ_SECONDS FLOAT COMMENT 'Waiting for and reading messages',
    DECODE_SECONDS FLOAT COMMENT 'Decoding, validating and writing the files',
    UPLOAD_SECONDS FLOAT COMMENT 'PUT to the stage',
    LOAD_SECONDS FLOAT COMMENT 'From BEGIN to the statement before COMMIT',
    COMMITTED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When the batch was about to commit',
    PRIMARY KEY (BATCH_ID)
) COMMENT = 'One row per committed landing transaction';

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.DEAD_LETTER_EVENTS (
    DEAD_LETTER_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the dead letter',
    VALUE BINARY(67108864) COMMENT 'The original bytes; NULL where the message had no value',
    MESSAGE_KEY BINARY(67108864) COMMENT 'The original key',
    HEADERS VARIANT COMMENT 'Array of {name, value}; value in base64, null where the header had none',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Kafka partition',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset in the partition',
    KAFKA_TIMESTAMP TIMESTAMP_LTZ COMMENT 'Timestamp of the record',
    FAILURE_CLASS VARCHAR(50) NOT NULL COMMENT 'What kind of failure, for counting',
    FAILURE_REASON VARCHAR(2000) NOT NULL COMMENT 'What was wrong, for people',
    FAILURE_PATH VARCHAR(1000) NOT NULL COMMENT 'JSON path that failed, $ for the whole message',
    FIRST_SEEN TIMESTAMP_LTZ NOT NULL COMMENT 'When it was first read',
    ATTEMPTS INTEGER NOT NULL COMMENT 'How often it was tried, the first time included',
    REPLAYED_AT TIMESTAMP_LTZ COMMENT 'When a replay landed it; NULL while it is dead',
    BATCH_ID VARCHAR(36) NOT NULL COMMENT 'Batch that read it',
    PRIMARY KEY (DEAD_LETTER_ID)
) COMMENT = 'Messages that were not valid events, whole';

CREATE TABLE IF NOT EXISTS {{ raw.schema }}.DEAD_LETTER_REPLAYS (
    REPLAY_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the transaction that tried it again',
    DEAD_LETTER_ID VARCHAR(36) NOT NULL COMMENT 'Which dead letter was tried',
    RUN_ID VARCHAR(100) NOT NULL COMMENT 'Dagster run, or who called the command',
    LANDED BOOLEAN NOT NULL COMMENT 'Whether it became a row of the raw table',
    FAILURE_CLASS VARCHAR(50) COMMENT 'What kind of failure it was this time; NULL where it landed',
    FAILURE_REASON VARCHAR(2000) COMMENT 'What was wrong this time; NULL where it landed',
    FAILURE_PATH VARCHAR(1000) COMMENT 'JSON path that failed this time; NULL where it landed',
    TRIED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When it was tried',
    PRIMARY KEY (REPLAY_ID, DEAD_LETTER_ID)
) COMMENT = 'Every attempt to replay a dead letter, and what came of it';

CREATE STAGE IF NOT EXISTS {{ raw.schema }}.LANDING COMMENT = 'Batches on their way into the raw table';
