# One image for every service of docker-compose.yml: docker build -t caves-dagster:0.1.0 .
FROM docker.io/library/python:3.11.13-slim-bookworm AS build
WORKDIR /app
# The installer has an environment of its own, which stays behind in this stage.
COPY installer.lock ./
RUN python -m venv /installer \
    && /installer/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r installer.lock \
    && python -m venv --without-pip .venv
# Without the development tools: production.lock is requirements.lock less those.
COPY production.lock ./
RUN /installer/bin/uv pip sync --quiet --no-cache --compile-bytecode --python .venv/bin/python --require-hashes production.lock
COPY pyproject.toml README.md ./
COPY caves_dagster caves_dagster
COPY sql sql
RUN /installer/bin/uv pip install --quiet --no-cache --python .venv/bin/python --no-deps --no-build-isolation --editable .
COPY dagster.yaml docker/storage.yaml docker/workspace.yaml docker/endpoints.json /container/
RUN mkdir -p .caves/warehouse data dagster/storage \
    && cat /container/dagster.yaml /container/storage.yaml > dagster/dagster.yaml \
    && cp /container/workspace.yaml dagster/workspace.yaml \
    && cp /container/endpoints.json .caves/endpoints.json \
    && python -m compileall -q caves_dagster

FROM docker.io/library/python:3.11.13-slim-bookworm
# A fixed number, so that files of secrets can be given to it.
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore pip setuptools wheel \
    && useradd --system --uid 10001 --home-dir /app caves
WORKDIR /app
COPY --from=build /app /app
# All that is written: state, seeds and reports, Dagster's. A new volume takes its owner from the folder it covers.
RUN chown -R 10001 .caves data dagster
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CAVES_HOME=/app/.caves \
    CAVES_REPORTS=/app/data/reports \
    CAVES_SEED_DIR=/app/data/seed \
    DB_PATH=/app/data/wine_data.db \
    DAGSTER_HOME=/app/dagster
USER 10001
# A consumer's, what this image is mostly started for; docker-compose.yml has those of the others.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=5)"]
CMD ["caves", "consume", "--transform"]
