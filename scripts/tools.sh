#!/usr/bin/env bash
# Installs what is missing of the Debian packages that building, tests and bench call; `tools.sh build`: building
# alone. Rust itself is expected. Says nothing when nothing is missing.
set -euo pipefail

# command : the Debian package that has it
needed="
cc:gcc
g++:g++
make:make
mariadbd:mariadb-server
mariadb:mariadb-client
psql:postgresql-client
pg_ctlcluster:postgresql
sqlite3:sqlite3
python3:python3
pigz:pigz
restic:restic
age:age
curl:curl
node:nodejs
npm:npm
javac:default-jdk-headless
systemd-analyze:systemd
"

# A C compiler is all that building needs.
[ "${1-}" != build ] || needed="cc:g++"

# mariadbd and pg_ctlcluster are in folders that a user's PATH may lack.
PATH="$PATH:/usr/sbin:/sbin"
missing=()
for line in $needed; do
    command -v "${line%%:*}" >/dev/null || missing+=("${line##*:}")
done
if [ "${1-}" != build ]; then
    # Jars that clients in Java need.
    if command -v apt-get >/dev/null; then
        [ -e /usr/share/java/httpmime.jar ] || missing+=(libhttpmime-java)
        [ -e /usr/share/java/jakarta-annotation-api.jar ] || missing+=(libjakarta-annotation-api-java)
    fi
    # What the program compresses with, if it is there.
    ldconfig -p | grep -q 'libisal\.so\.2' || missing+=(libisal2)
    # Debian's python3 cannot make a virtual environment by itself.
    ! command -v python3 >/dev/null || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
fi
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${missing[*]}. Install them as root, or install sudo." >&2
        exit 1
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing: ${missing[*]} (Debian's names). Install them with your system's own tool." >&2
    exit 1
fi
echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
cd "$(dirname "$0")/.."
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

# Only servers that we brought onto the machine are ours to set up: services.sh asks for these.
mkdir -p target/installed-here
for package in "${missing[@]}"; do
    touch "target/installed-here/$package"
done
