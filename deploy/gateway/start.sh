#!/bin/sh
# Starts nginx, which believes the proxies of KITH_GATEWAY_PROXIES (addresses or networks, by spaces) about who their
# clients are, and nobody else.
set -eu
for proxy in ${KITH_GATEWAY_PROXIES:-}; do
  echo "set_real_ip_from $proxy;"
done >/tmp/proxies.conf
exec nginx "$@"
