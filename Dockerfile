# Two images: `kith`, every service and the command, and `gateway`, which gives the workers of a service that
# runs more than once one address. Nothing here needs BuildKit, so that docker-compose 1.29 builds it, too.
# `make images` writes images.env, which names these by digest instead.
ARG DEBIAN_IMAGE=debian:bookworm-slim
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${DEBIAN_IMAGE} AS gateway
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx \
    && rm -rf /var/lib/apt/lists/*
# 127.0.0.11 is Docker's name server: asked every second, it knows the workers that come and go. The services cannot
# see who is behind the gateway, so it bounds each address and the time for heads, bodies and answers. Its limit on
# bodies is above the services' own, which they state in their answer. What it refuses itself is a problem, as theirs is.
RUN printf '%s\n' \
    'pid /tmp/nginx.pid;' \
    'error_log /dev/stderr error;' \
    'worker_rlimit_nofile 8192;' \
    'events { worker_connections 4096; }' \
    'http {' \
    '    access_log off;' \
    '    client_body_temp_path /tmp/client;' \
    '    proxy_temp_path /tmp/proxy;' \
    '    fastcgi_temp_path /tmp/fastcgi;' \
    '    uwsgi_temp_path /tmp/uwsgi;' \
    '    scgi_temp_path /tmp/scgi;' \
    '    client_max_body_size 2m;' \
    '    client_header_timeout 10s;' \
    '    client_body_timeout 10s;' \
    '    send_timeout 20s;' \
    '    reset_timedout_connection on;' \
    '    limit_conn_zone $binary_remote_addr zone=address:10m;' \
    '    limit_conn address 256;' \
    '    limit_conn_status 429;' \
    '    client_body_buffer_size 1m;' \
    '    resolver 127.0.0.11 valid=1s ipv6=off;' \
    '    map $server_port $service { 8701 ingest; 8702 relations; 8703 analytics; 8704 privacy; 8705 exports; 8706 intelligence; 8707 webhooks; 8708 apps; 8709 rabbitmq; 8710 cassandra; 8711 postgres; }' \
    '    server {' \
    '        listen 8701;' \
    '        listen 8702;' \
    '        listen 8703;' \
    '        listen 8704;' \
    '        listen 8705;' \
    '        listen 8706;' \
    '        listen 8707;' \
    '        listen 8708;' \
    '        listen 8709;' \
    '        listen 8710;' \
    '        listen 8711;' \
    '        error_page 400 @400;' \
    '        error_page 408 @408;' \
    '        error_page 413 @413;' \
    '        error_page 414 @414;' \
    '        error_page 429 @429;' \
    '        error_page 502 @502;' \
    '        error_page 504 @504;' \
    '        location @400 { default_type application/problem+json; return 400 "{\"type\": \"/problems/bad-request\", \"title\": \"The request is not understood\", \"status\": 400, \"detail\": \"the gateway cannot read the request\"}"; }' \
    '        location @408 { default_type application/problem+json; return 408 "{\"type\": \"/problems/request-timeout\", \"title\": \"The body did not arrive in time\", \"status\": 408, \"detail\": \"the request did not arrive in time\"}"; }' \
    '        location @413 { default_type application/problem+json; return 413 "{\"type\": \"/problems/too-large\", \"title\": \"The request is too large\", \"status\": 413, \"detail\": \"a body has at most 1 MiB\"}"; }' \
    '        location @414 { default_type application/problem+json; return 414 "{\"type\": \"/problems/other\", \"title\": \"Another server has refused the request\", \"status\": 414, \"detail\": \"the address is longer than the gateway reads\"}"; }' \
    '        location @429 { default_type application/problem+json; add_header Retry-After 1 always; return 429 "{\"type\": \"/problems/share-used-up\", \"title\": \"The credential or its tenant does too much at the same time\", \"status\": 429, \"detail\": \"this address has too many connections\"}"; }' \
    '        location @502 { default_type application/problem+json; add_header Retry-After 5 always; return 502 "{\"type\": \"/problems/other\", \"title\": \"Another server has refused the request\", \"status\": 502, \"detail\": \"no process of the service can be reached; retry later\"}"; }' \
    '        location @504 { default_type application/problem+json; add_header Retry-After 5 always; return 504 "{\"type\": \"/problems/other\", \"title\": \"Another server has refused the request\", \"status\": 504, \"detail\": \"the service did not answer in time; retry later\"}"; }' \
    '        location / {' \
    '            proxy_pass http://$service:$server_port;' \
    '            proxy_http_version 1.1;' \
    '            proxy_set_header Host $http_host;' \
    '            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;' \
    '            proxy_connect_timeout 2s;' \
    '        }' \
    '    }' \
    '}' > /etc/nginx/nginx.conf
USER www-data
EXPOSE 8701 8702 8703 8704 8705 8706 8707 8708 8709 8710 8711
CMD ["nginx", "-g", "daemon off;"]


FROM ${PYTHON_IMAGE} AS build
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/kith \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY tools/uv.txt tools/
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore --require-hashes -r tools/uv.txt
# The packages are a layer of their own, built anew only when the lock changes. The services need the extra "api"; with
# "otel" (8 MB), traces need no image of their own.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --extra api --extra cassandra --extra exports --extra intelligence --extra measures --extra otel --extra postgres --extra rabbitmq --extra webhooks --no-install-project
COPY LICENSE README.md ./
COPY services services
COPY shared shared
# The second call leaves out what only the build of the package needs.
RUN uv sync --frozen --no-dev --extra api --extra cassandra --extra exports --extra intelligence --extra measures --extra otel --extra postgres --extra rabbitmq --extra webhooks --no-editable \
    && uv sync --frozen --no-default-groups --extra api --extra cassandra --extra exports --extra intelligence --extra measures --extra otel --extra postgres --extra rabbitmq --extra webhooks --no-editable


FROM ${PYTHON_IMAGE} AS kith
RUN useradd --uid 10001 --no-create-home kith
COPY --from=build /opt/kith /opt/kith
ENV PATH=/opt/kith/bin:$PATH \
    PYTHONUNBUFFERED=1
USER kith
EXPOSE 8701 8702 8703 8704 8705 8706 8707 8708 8709 8710 8711
ENTRYPOINT ["kith"]
CMD ["--help"]
