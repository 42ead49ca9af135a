#!/usr/bin/env bash
# What tests/system needs on the machine that runs it. Does nothing when all is there; else needs root and apt-get.
set -eu
PATH="$PATH:/usr/sbin:/sbin"

missing=()
have() { command -v "$1" >/dev/null || missing+=("$2"); }
have systemd-nspawn systemd-container
have debootstrap debootstrap
have nsenter util-linux
have dpkg-deb dpkg
[ -x /usr/bin/python3.11 ] || missing+=(python3)
[ "${#missing[@]}" -eq 0 ] && exit 0

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
