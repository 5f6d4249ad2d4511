{# Which dead letters `d` are meant: every condition whose value is NULL holds. `type_compact` and `type_spaced` are the
   bytes of `"event_type":"X"` without and with a blank, in hex: the letters need not be JSON, nor even text. #}
{% macro matching() -%}
(%(replayed)s OR d.REPLAYED_AT IS NULL)
    AND (%(failure_class)s IS NULL OR d.FAILURE_CLASS = %(failure_class)s)
    AND (
        %(text)s IS NULL
        OR CONTAINS(LOWER(d.FAILURE_REASON || ' ' || d.FAILURE_PATH), LOWER(%(text)s))
    )
    AND (
        %(type_compact)s IS NULL
        OR CONTAINS(HEX_ENCODE(d.VALUE), %(type_compact)s)
        OR CONTAINS(HEX_ENCODE(d.VALUE), %(type_spaced)s)
    )
    AND (%(since)s IS NULL OR d.FIRST_SEEN >= %(since)s::TIMESTAMP_LTZ)
    AND (%(until)s IS NULL OR d.FIRST_SEEN < %(until)s::TIMESTAMP_LTZ)
    AND (%(id)s IS NULL OR STARTSWITH(d.DEAD_LETTER_ID, %(id)s))
    AND (%(partition)s IS NULL OR d.KAFKA_PARTITION = %(partition)s)
    AND (%(offset)s IS NULL OR d.KAFKA_OFFSET = %(offset)s)
{%- endmacro %}

{# Those behind the letter (`after`, `after_id`), in the order of FIRST_SEEN and id. #}
{% macro behind() -%}
(
        d.FIRST_SEEN > %(after)s::TIMESTAMP_LTZ
        OR (d.FIRST_SEEN = %(after)s::TIMESTAMP_LTZ AND d.DEAD_LETTER_ID > %(after_id)s)
    )
{%- endmacro %}
