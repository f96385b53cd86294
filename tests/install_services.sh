#!/usr/bin/env bash
# What `make test-all` needs beyond Python packages: Chromium (the report), PostgreSQL (Prefect's database) and WordNet.
# Installs them where apt-get may, and says what the tests will skip where it may not.
set -u
missing=()
command -v chromium >/dev/null || missing+=(chromium)
[ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || missing+=(postgresql)
[ -f /usr/share/wordnet/data.noun ] || missing+=(wordnet-base)
if [ ${#missing[@]} -eq 0 ]; then
  echo "test-all: Chromium, PostgreSQL and WordNet are installed"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "test-all: installing ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null ||
    echo "test-all: could not install ${missing[*]}; their tests are skipped"
else
  echo "test-all: not installed, and not mine to install: ${missing[*]}; their tests are skipped"
fi
