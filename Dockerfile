# The `caves` command as an image: docker build -t caves-dagster:0.1.0 .
FROM docker.io/library/python:3.11.13-slim-bookworm AS build
WORKDIR /app
COPY installer.lock requirements.lock pyproject.toml README.md ./
# The locked versions, and nothing that is only for development is started from here.
RUN python -m venv .venv \
    && .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r installer.lock \
    && .venv/bin/uv pip sync --quiet --python .venv/bin/python --require-hashes installer.lock requirements.lock
COPY caves_dagster caves_dagster
COPY sql sql
RUN .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .

FROM docker.io/library/python:3.11.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app caves
WORKDIR /app
COPY --from=build /app /app
COPY dagster.yaml workspace.yaml ./
RUN mkdir .caves reports test_data && chown caves .caves reports test_data
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER caves
CMD ["caves", "--help"]
