#!/usr/bin/env bash
# The deployment on a clean Debian: install twice, run every unit under systemd, back up, restore, upgrade, roll
# back, uninstall, and list what is left.
#
#   sudo tests/deploy_drill.sh [FOLDER]      5 to 15 minutes, 6 GB in FOLDER (/var/tmp/tgtqr-drill)
#
# Needs root, debootstrap, Debian's packages and PyPI for the first run in FOLDER, and systemd-nspawn (package
# systemd-container) for the part under systemd, which is left out without it. SUITE=trixie takes another Debian.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
WORK=${1:-/var/tmp/tgtqr-drill}
SUITE=${SUITE:-bookworm}
PACKAGES=(python3 python3-venv make chrony logrotate systemd dbus ca-certificates)
UNITS=(tick watch page report backup)
ROOT=$WORK/root CHECKOUT=$WORK/checkout WHEELS=$WORK/wheels-$SUITE BASE=$WORK/base-$SUITE READY=$WORK/ready-$SUITE
DEPLOY=$CHECKOUT/schedules/deploy_aws.sh
passed=0

say() { printf '%s\n' "$*"; }
head_line() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }
ok() {
    passed=$((passed + 1))
    say "ok: $1"
}
fail() {
    say "FAILED: $1"
    exit 1
}
expect() { # expect TEXT COMMAND...: the command succeeds
    local text=$1
    shift
    "$@" >"$WORK/said" 2>&1 || {
        cat "$WORK/said"
        fail "$text"
    }
    ok "$text"
}
refuse() { # refuse TEXT COMMAND...: the command fails
    local text=$1
    shift
    ! "$@" >"$WORK/said" 2>&1 || fail "$text"
    ok "$text"
}

# shellcheck disable=SC2016 # the inner shell expands it
inside() { # a program in the root directory $1, as a chroot
    local where=$1
    shift
    unshare --mount sh -c 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' \
        "$where" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive "$@"
}
listed() { (cd "$1" && find . -xdev -printf '%p %y %m %u %g\n' | sort); }

[ "$(id -u)" -eq 0 ] || fail "expected root"
command -v debootstrap >/dev/null || fail "debootstrap is not here; install the package"
mkdir -p "$WORK"

# ------------------------------------------------------------------ what is kept between runs

head_line "a clean Debian, $SUITE"
if [ ! -d "$BASE" ]; then
    debootstrap --variant=minbase "$SUITE" "$BASE.new" ${MIRROR:+"$MIRROR"} >"$WORK/debootstrap.log" 2>&1 ||
        fail "debootstrap: see $WORK/debootstrap.log"
    mv "$BASE.new" "$BASE"
fi
if [ ! -d "$READY" ]; then # the same with the packages that the script installs: what may be left of it
    rm -rf "$READY.new" && cp -a "$BASE" "$READY.new"
    inside "$READY.new" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"' sh \
        "${PACKAGES[@]}" >"$WORK/packages.log" 2>&1 || fail "packages: see $WORK/packages.log"
    mv "$READY.new" "$READY"
fi
rm -rf "$CHECKOUT" && mkdir -p "$CHECKOUT"
tar -C "$HERE" --exclude=__pycache__ --exclude='*.egg-info' --exclude=.venv --exclude=./data --exclude=./outputs \
    --exclude=.git --exclude=docs/build -cf - . | tar -C "$CHECKOUT" -xf -
if ! cmp -s "$WHEELS.lock" "$CHECKOUT/requirements.txt"; then
    rm -rf "$WHEELS" "$WHEELS.lock" "$READY/var/tmp"/*
    cp "$CHECKOUT/requirements.txt" "$READY/var/tmp/lock.txt"
    cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$READY/var/tmp/ca.crt"
    # by its own Python: some lines of the lock are for some versions alone
    inside "$READY" env PIP_CERT=/var/tmp/ca.crt sh -c 'cd /var/tmp && python3 -m venv v && v/bin/pip download -q \
        --no-cache-dir --no-deps --require-hashes -r lock.txt -d wheels' >"$WORK/wheels.log" 2>&1 ||
        fail "wheels: see $WORK/wheels.log"
    mv "$READY/var/tmp/wheels" "$WHEELS"
    rm -rf "$READY/var/tmp"/*
    cp "$CHECKOUT/requirements.txt" "$WHEELS.lock"
fi
rm -rf "$ROOT" && cp -a "$BASE" "$ROOT"
say "$(cat "$ROOT/etc/debian_version"), $(find "$WHEELS" -type f | wc -l) Python packages"

# ------------------------------------------------------------------ from outside: --root

head_line "dry run"
(cd "$ROOT" && find . -printf '%p %T@ %s %m\n' | sort) >"$WORK/before"
"$DEPLOY" install --dry-run --root "$ROOT" >"$WORK/dry"
(cd "$ROOT" && find . -printf '%p %T@ %s %m\n' | sort) >"$WORK/after"
tail -n 1 "$WORK/dry"
expect "a dry run changes nothing" cmp "$WORK/before" "$WORK/after"

head_line "install"
mkdir -p "$ROOT/var/lib/tgtqr"
printf 'market = "simulator"\n' >"$ROOT/var/lib/tgtqr/settings.toml" # embedded: for the tick in the chroot
"$DEPLOY" install --root "$ROOT" --wheels "$WHEELS" | sed -n '$!{/changes made/p}; /^copy\|^build/p'
say "code $(du -sm "$ROOT/opt/tgtqr" | cut -f1) MB"

head_line "install again"
listed "$ROOT" >"$WORK/before"
"$DEPLOY" install --root "$ROOT" --wheels "$WHEELS" | tee "$WORK/again"
listed "$ROOT" >"$WORK/after"
expect "twice equals once, and it says so" grep -q '^nothing to change' "$WORK/again"
expect "the second run changed no file" cmp "$WORK/before" "$WORK/after"

head_line "units"
# shellcheck disable=SC2016
inside "$ROOT" sh -c 'systemd-analyze verify /etc/systemd/system/tgtqr-*.service /etc/systemd/system/tgtqr-*.timer' \
    >"$WORK/verify" 2>&1 || true
cat "$WORK/verify"
expect "systemd-analyze verify says nothing" test ! -s "$WORK/verify"
for unit in "${UNITS[@]}"; do
    line=$(inside "$ROOT" systemd-analyze security --offline=true "tgtqr-$unit.service" | tail -n 1)
    say "${line#→ }"
    score=$(printf '%s' "$line" | sed 's/.*: \([0-9.]*\) .*/\1/')
    expect "exposure of tgtqr-$unit.service is at most 3.0" awk "BEGIN { exit !($score <= 3.0) }"
done
refuse "tgtqr cannot write the code" inside "$ROOT" setpriv --reuid=tgtqr --regid=tgtqr --init-groups \
    touch /opt/tgtqr/current/tgtqr_lib/x
refuse "tgtqr-page cannot read the keys" inside "$ROOT" setpriv --reuid=tgtqr-page --regid=tgtqr-page \
    --groups=tgtqr cat /etc/tgtqr/tgtqr.env
refuse "tgtqr-page cannot write a notebook's folder" inside "$ROOT" setpriv --reuid=tgtqr-page --regid=tgtqr-page \
    --groups=tgtqr touch /var/lib/tgtqr/outputs/ticks/x
expect "no shell for either" inside "$ROOT" sh -c '! grep "^tgtqr" /etc/passwd | grep -v nologin'

head_line "as tgtqr in the chroot, on the embedded simulator"
for words in "arm --reason drill" tick status "ledger verify --archive" "ledger backup" "ledger restore --drill"; do
    # shellcheck disable=SC2086
    inside "$ROOT" tgtqr $words >"$WORK/said" 2>&1 || {
        cat "$WORK/said"
        fail "tgtqr $words"
    }
    say "tgtqr $words: $(head -n 1 "$WORK/said")"
    passed=$((passed + 1))
done

# ------------------------------------------------------------------ from inside: systemd runs the units

under_systemd() {
    head_line "under systemd"
    rm -rf "$ROOT/var/lib/tgtqr"/{data,outputs,backups} # another market: another ledger
    "$DEPLOY" install --root "$ROOT" --wheels "$WHEELS" | sed -n '/ledger/p; $p'
    printf 'market = "simulator"\n[simulator]\nurl = "http://127.0.0.1:8099"\n' >"$ROOT/var/lib/tgtqr/settings.toml"
    # nspawn wants a /run of its own kind; --keep-unit, as no systemd may run out here
    # shellcheck disable=SC2016
    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/systemd &&
        exec systemd-nspawn -q -D "$0" -b --register=no --keep-unit --private-network --machine=tgtqr-drill \
            --console=read-only --bind-ro="$1:/mnt/checkout" --bind-ro="$2:/mnt/wheels"' \
        "$ROOT" "$CHECKOUT" "$WHEELS" </dev/null >"$WORK/nspawn.log" 2>&1 &
    container=$!
    trap 'kill "$container" 2>/dev/null || true; wait "$container" 2>/dev/null || true' EXIT
    local i leader=''
    for ((i = 0; i < 60; i++)); do
        leader=$(first_process)
        [ -n "$leader" ] && in_it systemctl is-system-running --wait >/dev/null 2>&1 && break
        sleep 1
    done
    say "$(in_it systemctl is-system-running || true), $(in_it systemctl --version | head -n 1)"

    in_it systemctl stop tgtqr-watch tgtqr-page tgtqr-tick.timer # the timer has its own clock: ticks are started below
    in_it systemd-run -q --unit=simulator --uid=tgtqr --setenv=HOME=/var/cache/tgtqr --working-directory=/tmp \
        /opt/tgtqr/current/.venv/bin/tgtqr simulator --port 8099 --rate 1 --at 2026-11-22T09:58:20Z
    sleep 5
    in_it systemctl start tgtqr-watch tgtqr-page
    wait_for "the watch gave a beat" in_it sh -c 'tgtqr status | grep -q "^last beat *20"'
    expect "sudo tgtqr arm" in_it tgtqr arm --reason drill
    wait_for "the exchange shows 10:00" in_it sh -c 'tgtqr status | grep -q "T10:00:"'
    expect "tgtqr-tick.service" in_it systemctl start tgtqr-tick
    say "  $(in_it journalctl -q -o cat -u tgtqr-tick | grep '^tick')"
    say "  $(in_it journalctl -q -o cat -u tgtqr-tick | grep 'CPU time')"
    cp "$CHECKOUT/tests/deploy_visit.py" "$ROOT/var/tmp/visit.py"
    wait_for "the page answers" in_it sh -c 'journalctl -q -o cat -u tgtqr-page | grep -q "^dashboard: "'
    expect "the page is shown, and its button stops" in_it python3 /var/tmp/visit.py stop
    cat "$WORK/said"
    sleep 15 # the kernel for the next visitor is up
    memory
    expect "arming as the page, in the page's own confinement" as_page tgtqr_arm
    refuse "the page cannot write outputs" as_page touch /var/lib/tgtqr/outputs/x
    refuse "the page cannot read backups" as_page ls /var/lib/tgtqr/backups
    expect "a stop over the page's stop" in_it tgtqr stop
    in_it tgtqr preflight >"$WORK/preflight" 2>&1 || true
    sed -n '/^ *fail/Ip' "$WORK/preflight"
    expect "tgtqr-report.service" in_it systemctl start tgtqr-report
    expect "tgtqr-backup.service" in_it systemctl start tgtqr-backup
    say "  $(in_it journalctl -q -o cat -u tgtqr-backup | grep 'the ledger to')"

    head_line "backup, delete, restore"
    in_it systemctl stop tgtqr-watch tgtqr-page
    in_it sh -c 'rm -rf /var/lib/tgtqr/data /var/lib/tgtqr/outputs'
    in_it systemd-tmpfiles --create /etc/tmpfiles.d/tgtqr.conf
    expect "tgtqr ledger restore" in_it tgtqr ledger restore --reason "drill"
    in_it systemctl start tgtqr-watch tgtqr-page
    expect "tgtqr ledger verify --archive" in_it tgtqr ledger verify --archive
    say "  $(head -n 1 "$WORK/said")"
    expect "the tick is still there" in_it sh -c 'tgtqr ledger show --kind tick | grep -q 20261122T1000Z'
    # shellcheck disable=SC2016 # the inner shell expands it
    wait_for "the page answers again" in_it sh -c 'test "$(journalctl -q -o cat -u tgtqr-page | grep -c "^dashboard: ")" -ge 2'
    expect "arming as the page after the restore" as_page tgtqr_arm

    head_line "upgrade and roll back"
    printf -- '- a line of the drill\n' >>"$CHECKOUT/CHANGELOG.md"
    in_it bash /mnt/checkout/schedules/deploy_aws.sh upgrade --wheels /mnt/wheels | tail -n 5
    expect "the new release runs" in_it systemctl is-active tgtqr-watch tgtqr-page
    local new old
    new=$(in_it readlink /opt/tgtqr/current)
    in_it bash /mnt/checkout/schedules/deploy_aws.sh rollback | tail -n 5
    old=$(in_it readlink /opt/tgtqr/current)
    expect "rolled back from $new to $old" test "$new" != "$old"
    expect "the old release runs" in_it systemctl is-active tgtqr-watch tgtqr-page
    printf 'this is no lock\n' >>"$CHECKOUT/requirements.txt"
    refuse "an upgrade that cannot be built fails" in_it bash /mnt/checkout/schedules/deploy_aws.sh upgrade --wheels /mnt/wheels
    expect "and what ran before still runs" in_it systemctl is-active tgtqr-watch tgtqr-page
    expect "on the same release" test "$old" = "$(in_it readlink /opt/tgtqr/current)"

    head_line "uninstall"
    in_it systemctl stop simulator
    in_it bash /mnt/checkout/schedules/deploy_aws.sh uninstall | tail -n 1
    expect "no unit is left" in_it sh -c '! systemctl list-units --all --no-legend "tgtqr-*" | grep .'
    in_it systemctl poweroff 2>/dev/null || true
    wait "$container" || true
    trap - EXIT
}

first_process() { ps --ppid "$container" -o pid= | tail -n 1 | tr -d ' ' || true; }

in_it() {
    local leader
    leader=$(first_process)
    [ -n "$leader" ] || return 1
    nsenter -t "$leader" -a /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        SYSTEMD_COLORS=0 SYSTEMD_PAGER= "$@"
}

# What the page's own processes could do: its user, its groups, its view of the files, no way to more rights.
as_page() {
    local words=("$@") pid
    [ "$1" != tgtqr_arm ] || words=(/opt/tgtqr/current/.venv/bin/tgtqr arm --reason "from the page")
    pid=$(in_it systemctl show -P MainPID tgtqr-page)
    in_it nsenter -t "$pid" -m setpriv --reuid=tgtqr-page --regid=tgtqr-page --groups=tgtqr-page,tgtqr --no-new-privs \
        --bounding-set=-all env TGTQR_HOME=/var/lib/tgtqr HOME=/var/cache/tgtqr-page \
        sh -c 'umask 0007; exec "$@"' sh "${words[@]}"
}

wait_for() { # wait_for TEXT COMMAND...: within two minutes
    local text=$1 i
    shift
    for ((i = 0; i < 60; i++)); do
        if "$@" >/dev/null 2>&1; then
            ok "$text"
            return 0
        fi
        sleep 2
    done
    in_it journalctl -q --no-pager -n 40 || true
    fail "$text"
}

memory() { # of watch, page, the waiting kernel and that of the visitor: PSS, so that what is shared counts once
    local process owner sum=0 size users
    users=" $(stat -c %u "$ROOT/var/cache/tgtqr") $(stat -c %u "$ROOT/var/cache/tgtqr-page") "
    for process in /proc/[0-9]*; do
        owner=$(stat -c %u "$process" 2>/dev/null) || continue
        case $users in *" $owner "*) ;; *) continue ;; esac
        tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -q '/opt/tgtqr.*\(watch\|dashboard\|ipykernel\)' || continue
        size=$(awk '/^Pss:/ { print int($2 / 1024) }' "$process/smaps_rollup" 2>/dev/null) || continue
        say "  $size MB  $(tr '\0' ' ' <"$process/cmdline" | sed 's|/opt/tgtqr/[^ ]*/||g' | cut -c1-60)"
        sum=$((sum + size))
    done
    expect "watch and page with a visitor take $sum MB, less than 500" test "$sum" -lt 500
}

container=''
if command -v systemd-nspawn >/dev/null; then
    under_systemd
else
    say "not run: systemd-nspawn is not here, so no unit was started"
    head_line "uninstall"
    "$DEPLOY" uninstall --root "$ROOT" | tail -n 1
fi

head_line "what is left"
listed "$READY" >"$WORK/before"
listed "$ROOT" >"$WORK/after"
# what a boot and a package manager write for themselves
own='^\./(var/(log|tmp|cache/(apt|debconf|ldconfig|private)|lib/(apt|dpkg|systemd|dbus|chrony|logrotate|private|ucf))|etc/(machine-id|passwd-|group-|shadow-|gshadow-|\.pwd\.lock|resolv\.conf|hostname|mtab|subuid|subgid)|run|tmp|dev|root|mnt)'
left=$(comm -13 <(cut -d' ' -f1 "$WORK/before" | sort) <(cut -d' ' -f1 "$WORK/after" | sort) | grep -Ev "$own" || true)
say "$(printf '%s\n' "$left" | grep -c '^\./var/lib/tgtqr' || true) files and folders in /var/lib/tgtqr, and:"
rest=$(printf '%s\n' "$left" | grep -v '^\./var/lib/tgtqr\(/\|$\)' || true)
say "${rest:-nothing}"
expect "nothing but data is left" test -z "$rest"
expect "no file is of a user that is gone" sh -c "! find '$ROOT' -xdev \( -nouser -o -nogroup \) | grep ."
expect "no user is left" sh -c "! grep -rl tgtqr '$ROOT/etc/passwd' '$ROOT/etc/group' '$ROOT/etc/shadow'"
expect "the data are root's alone" test "$(stat -c '%a %U' "$ROOT/var/lib/tgtqr")" = "700 root"
printf '\n%s checks passed in %s s\n' "$passed" "$SECONDS"
