#!/usr/bin/env bash
# The real parts that tests/acceptance starts. Does nothing when all are there; else needs root and Debian's apt-get.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

missing=()
have() { command -v "$1" >/dev/null || missing+=("$2"); }
have nginx nginx
have squid squid
have microsocks microsocks
have danted dante-server
have openssl openssl
have setpriv util-linux
have wrk wrk
have logrotate logrotate
have chromium chromium
have prometheus prometheus
have promtool prometheus
have curl curl
have faketime faketime
compgen -c php-fpm >/dev/null || missing+=(php-fpm)  # Debian's command has PHP's version in its name
[ "${#missing[@]}" -eq 0 ] && exit 0

# Debian starts a service when it installs it; the tests start their own and need neither ports 80 nor 3128.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
