#!/usr/bin/env bash
# What `make test-all` needs beyond Python packages: Chromium and axe-core (the report), PostgreSQL (Prefect's database),
# WordNet, and Azurite (az://). Installs them where apt-get and npm may, and says what the tests will skip where they may not.
# usage: install_services.sh [FOLDER]: Azurite and axe-core are put below this one, by default .venv
set -u
below="${1:-.venv}"
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
if ! command -v npm >/dev/null; then
  echo "test-all: npm is not installed: tests of az:// and of the report's accessibility are skipped where these are missing"
fi
# install NAME FOLDER FILE PACKAGE: a package of npm below FOLDER, unless its FILE is there
install() {
  if [ -e "$2/node_modules/$3" ]; then
    echo "test-all: $1 is installed"
  elif command -v npm >/dev/null; then
    echo "test-all: installing $1"
    mkdir -p "$2" && echo '{"private": true}' >"$2/package.json" &&
      npm install --prefix "$2" --no-audit --no-fund --silent "$4" >/dev/null ||
      echo "test-all: could not install $1; its tests are skipped"
  fi
}
command -v azurite-blob >/dev/null || install Azurite "$below/azurite" .bin/azurite-blob azurite@3.35.0
install axe-core "$below/axe" axe-core/axe.min.js axe-core@4.14.1
