#!/usr/bin/env bash
# Sees to it that MariaDB and PostgreSQL answer where the tests expect them:
#   mysql://root@127.0.0.1:3306         without a password
#   postgres://postgres@127.0.0.1:5432  trusted, or with the password in PGPASSWORD, as `make` sets it
# A server that does not run is started. Accounts are made only in a server that tools.sh installed:
# somebody else's is never changed, only asked, and if it refuses this says what it lacks.
set -euo pipefail
PATH="$PATH:/usr/sbin:/sbin"
cd "$(dirname "$0")/.."
export PGPASSWORD="${PGPASSWORD:-portal-backup-tests}"

as() { # as USER COMMAND…
    local user=$1
    shift
    if [ "$(id -un)" = "$user" ]; then
        "$@"
    elif [ "$(id -u)" -eq 0 ]; then
        runuser -u "$user" -- "$@"
    elif command -v sudo >/dev/null; then
        sudo -u "$user" "$@"
    else
        echo "This needs to be $user: $*" >&2
        return 1
    fi
}

start_service() { # start_service NAME
    # Its exit code is not asked: Debian's script for MariaDB pings with an account from debian.cnf, and
    # where that file is lacking says after 30 s that the running server failed. What answers is what counts.
    as root sh -c "service $1 start >/dev/null 2>&1 || true"
}

wait_for() { # wait_for NAME COMMAND…
    local name=$1
    shift
    for _ in $(seq 150); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.2
    done
    echo "$name does not answer. Its own message:" >&2
    "$@" >&2
}

ours() { # ours PACKAGE SERVER WHAT-IT-LACKS
    [ -e "target/installed-here/$1" ] && return 0
    echo "$2 runs but refuses the tests, and it is not ours to change. It lacks $3." >&2
    return 1
}

mariadb_answers() { mariadb --host=127.0.0.1 --port=3306 --user=root --execute='select 1'; }
mariadb_listens() { (exec 3<>/dev/tcp/127.0.0.1/3306) 2>/dev/null; }
# Debian lets root in by the socket only; the tests come over TCP.
mariadb_accounts="
    CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '';
    GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
    ALTER USER 'root'@'localhost' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('');"

start_mariadb() {
    mariadb_answers >/dev/null 2>&1 && return
    if ! mariadb_listens; then
        echo "Starting MariaDB"
        start_service mariadb
        wait_for MariaDB mariadb_listens
    fi
    mariadb_answers >/dev/null 2>&1 && return
    ours mariadb-server MariaDB "a root@127.0.0.1 without a password"
    as root mariadb --execute="$mariadb_accounts"
    wait_for MariaDB mariadb_answers
}

postgres_answers() {
    psql --no-password --host=127.0.0.1 --username=postgres --dbname=postgres --command='select 1'
}

start_postgres() {
    postgres_answers >/dev/null 2>&1 && return
    if ! pg_isready --quiet --host=127.0.0.1; then
        echo "Starting PostgreSQL"
        start_service postgresql
        wait_for PostgreSQL pg_isready --host=127.0.0.1
    fi
    postgres_answers >/dev/null 2>&1 && return
    ours postgresql PostgreSQL "trust for postgres@127.0.0.1; or set PGPASSWORD to its password"
    as postgres psql --quiet --command="ALTER USER postgres PASSWORD '$PGPASSWORD'"
    wait_for PostgreSQL postgres_answers
}

start_mariadb
start_postgres
