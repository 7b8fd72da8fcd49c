# Two images: `kith`, every service and the command, and `gateway`, which gives the workers of a service that
# runs more than once one address. Nothing here needs BuildKit, so that docker-compose 1.29 builds it, too.
# `make images` writes into .env and deploy/.env, which name these by digest instead.
ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${DEBIAN_IMAGE} AS gateway
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/*
COPY deploy/gateway/nginx.conf deploy/gateway/problems.conf deploy/gateway/start.sh /etc/nginx/
USER www-data
EXPOSE 8701 8702 8703 8704 8705 8706 8707 8708 8709 8710 8711
# Requests under way are answered before it ends; SIGTERM would cut them off.
STOPSIGNAL SIGQUIT
CMD ["sh", "/etc/nginx/start.sh", "-g", "daemon off;"]


FROM ${PYTHON_IMAGE} AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/kith \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY tools/uv.txt tools/
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore --require-hashes -r tools/uv.txt
# What the image is for: by default every service and the command. An image of one service has its extras alone, as
# deploy/compose.production.yml builds them.
ARG EXTRAS="api cassandra exports intelligence measures otel postgres rabbitmq webhooks"
# The packages are a layer of their own, built anew only when the lock changes.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev $(printf -- '--extra %s ' $EXTRAS) --no-install-project
COPY LICENSE README.md ./
COPY services services
COPY shared shared
# The second call leaves out what only the build of the package needs.
RUN uv sync --frozen --no-dev $(printf -- '--extra %s ' $EXTRAS) --no-editable \
    && uv sync --frozen --no-default-groups $(printf -- '--extra %s ' $EXTRAS) --no-editable


FROM ${PYTHON_IMAGE} AS kith
RUN useradd --uid 10001 --no-create-home kith
COPY --from=build /opt/kith /opt/kith
ENV PATH=/opt/kith/bin:$PATH \
    PYTHONUNBUFFERED=1
USER kith
EXPOSE 8701 8702 8703 8704 8705 8706 8707 8708 8709 8710 8711
# Last: another revision alone makes no other layer.
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="kith" \
      org.opencontainers.image.description="Exact, explained consumer-provider relationships from event streams" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
ENTRYPOINT ["kith"]
CMD ["--help"]
