-- Everything the page shows of a shop, as one statement: so its figures are of one moment and agree with each other.
{% from 'panels.sql' import first, next %}
{% set shows = shop.dashboard %}
{% set folder = shop.name ~ '/dashboard/' %}
WITH
{% if shows.sales %}
sales AS (
{% include folder ~ 'sales.sql' %}

),

products AS (
{% include folder ~ 'products.sql' %}

),

-- All that is told of the period is added up from these rows.
chosen AS (
    SELECT
        SOLD_AT::DATE AS DAY,
        SOURCE,
        PRODUCT_ID,
        SALES_CHANNEL,
        COUNT(*) AS SALES,
        SUM(QUANTITY) AS QUANTITY,
        SUM(REVENUE) AS REVENUE
    FROM sales
    WHERE SOLD_AT >= %(begin)s::TIMESTAMP_NTZ AND SOLD_AT < %(end)s::TIMESTAMP_NTZ
    GROUP BY SOLD_AT::DATE, SOURCE, PRODUCT_ID, SALES_CHANNEL
),

by_product AS (
    SELECT
        PRODUCT_ID,
        SUM(SALES) AS SALES,
        SUM(QUANTITY) AS QUANTITY,
        SUM(REVENUE) AS REVENUE,
        ROW_NUMBER() OVER (ORDER BY SUM(QUANTITY) DESC, PRODUCT_ID ASC) AS QUANTITY_POSITION,
        ROW_NUMBER() OVER (ORDER BY SUM(REVENUE) DESC, PRODUCT_ID ASC) AS REVENUE_POSITION
    FROM chosen
    GROUP BY PRODUCT_ID
),

recent AS (
    SELECT
        CASE WHEN SOLD_AT > %(day_ago)s::TIMESTAMP_NTZ THEN 'last_day' ELSE 'day_before' END AS PANEL,
        QUANTITY,
        REVENUE
    FROM sales
    WHERE SOLD_AT > %(two_days_ago)s::TIMESTAMP_NTZ AND SOLD_AT <= %(now)s::TIMESTAMP_NTZ
),

-- What is dated ahead of now is not among the latest: it would stay there until its day comes.
latest AS (
    SELECT *
    FROM sales
    WHERE SOLD_AT <= %(now)s::TIMESTAMP_NTZ
    ORDER BY SOLD_AT DESC, SALE_ID DESC
    LIMIT 20
),

{% endif %}
{% if shows.rows %}
entries AS (
{% include folder ~ 'rows.sql' %}

),

latest_entries AS (
    SELECT *
    FROM entries
    WHERE MOMENT <= %(now)s::TIMESTAMP_NTZ
    ORDER BY MOMENT DESC, ID DESC
    LIMIT 20
),

{% endif %}
{% if shows.stock %}
stock AS (
{% include folder ~ 'stock.sql' %}

),

low_stock AS (
{% include folder ~ 'low_stock.sql' %}

),

lowest AS (
    SELECT *
    FROM low_stock
    ORDER BY STOCK ASC, PRODUCT_NAME ASC, PLACE ASC
    LIMIT 10
),

{% endif %}
dead AS (
    SELECT
        FAILURE_CLASS,
        COUNT(*) AS LETTERS,
        COUNT_IF(FIRST_SEEN::TIMESTAMP_NTZ > %(day_ago)s::TIMESTAMP_NTZ) AS RECENT
    FROM {{ shop.raw.schema }}.DEAD_LETTER_EVENTS
    WHERE REPLAYED_AT IS NULL
    GROUP BY FAILURE_CLASS
)

{{ first('dead', name='FAILURE_CLASS', items='LETTERS', quantity='RECENT') }}
FROM dead
{% if shows.sales %}
{{ next("'day'", moment='DAY::TIMESTAMP_NTZ', source='SOURCE', items='SUM(SALES)', quantity='SUM(QUANTITY)', revenue='SUM(REVENUE)') }}
FROM chosen
GROUP BY DAY, SOURCE
{{ next("'channel'", name='SALES_CHANNEL', items='SUM(SALES)', quantity='SUM(QUANTITY)', revenue='SUM(REVENUE)') }}
FROM chosen
WHERE SALES_CHANNEL IS NOT NULL
GROUP BY SALES_CHANNEL
{{ next('PANEL', items='COUNT(*)', quantity='SUM(QUANTITY)', revenue='SUM(REVENUE)') }}
FROM recent
GROUP BY PANEL
{% for place in ('QUANTITY_POSITION', 'REVENUE_POSITION') %}
{{ next("'by_quantity'" if loop.first else "'by_revenue'", position='b.' ~ place, id='b.PRODUCT_ID::VARCHAR', name='COALESCE(p.PRODUCT_NAME, b.PRODUCT_ID::VARCHAR)', detail='p.PRODUCT_CATEGORY', items='b.SALES', quantity='b.QUANTITY', revenue='b.REVENUE') }}
FROM by_product AS b
LEFT JOIN products AS p ON b.PRODUCT_ID = p.PRODUCT_ID
WHERE b.{{ place }} <= 5
{% endfor %}
{{ next("'latest'", id='l.SALE_ID::VARCHAR', moment='l.SOLD_AT', name='COALESCE(p.PRODUCT_NAME, l.PRODUCT_ID::VARCHAR)', detail='l.SALES_CHANNEL', customer='l.CUSTOMER_ID::VARCHAR', source='l.SOURCE', quantity='l.QUANTITY', revenue='l.REVENUE') }}
FROM latest AS l
LEFT JOIN products AS p ON l.PRODUCT_ID = p.PRODUCT_ID
{% else %}
{% for table in shop.production %}
{{ next("'rows'", name="'" ~ table.full_name ~ "'", items='COUNT(*)') }}
FROM {{ table.full_name }}
{% endfor %}
{% endif %}
{% if shows.rows %}
{{ next("'rows_last_day'", items='COUNT_IF(MOMENT > %(day_ago)s::TIMESTAMP_NTZ)', quantity='COUNT_IF(MOMENT <= %(day_ago)s::TIMESTAMP_NTZ)') }}
FROM entries
WHERE MOMENT > %(two_days_ago)s::TIMESTAMP_NTZ AND MOMENT <= %(now)s::TIMESTAMP_NTZ
{{ next("'latest_rows'", id='ID', moment='MOMENT', detail='DETAIL') }}
FROM latest_entries
{% endif %}
{% if shows.stock %}
{{ next("'stock'", name='PRODUCT_CATEGORY', items='PRODUCT_COUNT', quantity='TOTAL_STOCK') }}
FROM stock
{{ next("'low'", items='COUNT(*)') }}
FROM low_stock
{{ next("'lowest'", name='PRODUCT_NAME', detail='PLACE', quantity='STOCK') }}
FROM lowest
{% endif %}
