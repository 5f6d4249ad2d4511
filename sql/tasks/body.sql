{# What a task runs: the statements of a transformation, as Dagster runs them. The fence comes first, so that no two
   transformations and no rebuild are under way at once; the stream advances with the commit or not at all. #}
BEGIN
    BEGIN TRANSACTION;
    {{ fence }};
{% for statement in statements %}
    {{ statement }};
{% endfor %}
    COMMIT;
EXCEPTION
    WHEN OTHER THEN
        ROLLBACK;
        RAISE;
END
