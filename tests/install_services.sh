#!/usr/bin/env bash
# What `make test-all` needs beyond Python packages: Chromium (the report), PostgreSQL (Prefect's database), WordNet, and
# Azurite (az://). Installs them where apt-get and npm may, and says what the tests will skip where they may not.
# usage: install_services.sh [FOLDER]: Azurite is put below this one, by default .venv
set -u
azurite="${1:-.venv}/azurite"
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
if command -v azurite-blob >/dev/null || [ -x "$azurite/node_modules/.bin/azurite-blob" ]; then
  echo "test-all: Azurite is installed"
elif command -v npm >/dev/null; then
  echo "test-all: installing Azurite"
  mkdir -p "$azurite" && echo '{"private": true}' >"$azurite/package.json" &&
    npm install --prefix "$azurite" --no-audit --no-fund --silent azurite@3.35.0 >/dev/null ||
    echo "test-all: could not install Azurite; its tests are skipped"
else
  echo "test-all: npm is not installed: tests of az:// are skipped"
fi
