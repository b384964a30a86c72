#!/bin/sh
# The kit's command line on this server: as its own user, in its own home, with the keys of the services.
set -eu
if [ "$(id -u)" -ne 0 ] && [ "$(id -un)" != tgtqr ]; then
    echo "tgtqr: expected root or the user tgtqr: sudo tgtqr $*" >&2
    exit 2
fi
umask 0027
cd /var/lib/tgtqr
export TGTQR_HOME=/var/lib/tgtqr TZ=UTC LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
export HOME=/var/cache/tgtqr USER=tgtqr LOGNAME=tgtqr
command=/opt/tgtqr/current/.venv/bin/tgtqr
[ "$(id -u)" -eq 0 ] || exec "$command" "$@"
if [ -r /etc/tgtqr/tgtqr.env ]; then
    set -a
    # shellcheck disable=SC1091 # it is the owner's
    . /etc/tgtqr/tgtqr.env
    set +a
fi
exec setpriv --reuid=tgtqr --regid=tgtqr --init-groups --inh-caps=-all "$command" "$@"
