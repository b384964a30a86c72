#!/usr/bin/env bash
# Puts the kit on a small server with systemd: Debian 12 or newer, Ubuntu 24.04 or newer, Amazon Linux 2023.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: deploy_aws.sh COMMAND [options]

  install     put the checkout that this file lies in on the machine; twice equals once
  upgrade     the same, for a machine that has the kit: backup, new release, restart
  rollback    back to the release before, and restart
  status      which release runs, and how its services are
  region      ask where this machine stands, and whether Bybit answers it
  uninstall   remove users, services and code; the home with ledger and notebooks stays

  --dry-run            print every change, make none
  --root DIR           work in the root directory of another system; nothing is started there
  --prefix DIR         where the code lies (/opt/tgtqr)
  --home DIR           where data and outputs lie (/var/lib/tgtqr)
  --domain NAME        serve the page at https://NAME/ by Caddy; its password must be set
  --region-check HOW   refuse (the default), warn or off: what happens on a machine that Bybit refuses
  --wheels DIR         take Python packages from DIR and ask no registry
  --keep N             how many releases stay on disk (3)
  --help               this text

Users: tgtqr trades, tgtqr-page serves the page; neither has a shell or may write the code.
Exit codes: 0 done; 1 failed, and what ran before still runs; 2 wrong usage; 4 the region is refused.
TEXT
}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PARTS=(tgtqr_lib notebooks schedules docs Makefile pyproject.toml requirements.txt README.md LICENSE
    CHANGELOG.md .env.example)
SERVICES=(tgtqr-watch.service tgtqr-page.service)
TIMERS=(tgtqr-tick.timer tgtqr-report.timer tgtqr-backup.timer)
METADATA=${TGTQR_METADATA_URL:-http://169.254.169.254} # another one is for tests
EXCHANGE=${TGTQR_EXCHANGE_URL:-https://api.bybit.com}
USUAL_PREFIX=/opt/tgtqr USUAL_HOME=/var/lib/tgtqr

dry=no root='' prefix='' home='' domain='' wheels='' keep=3 region_check=refuse command=''
changes=0 on_ec2=no packages_new=''

say() { printf '%s\n' "$*"; }
fail() {
    printf 'deploy_aws.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

# ------------------------------------------------------------------ one change at a time

# Runs the words after the first one, which says what they do; on a dry run they are only told.
change() {
    local text=$1
    shift
    changes=$((changes + 1))
    if [ "$dry" = yes ]; then
        say "would: $text"
        return 0
    fi
    say "$text"
    "$@"
}

# Runs a program of the system that is worked on; another root has /proc and /dev for that time alone.
# shellcheck disable=SC2016 # the inner shell expands it
in_root() {
    if [ -n "$root" ] && [ "$(id -u)" -eq 0 ]; then
        unshare --mount sh -c 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' \
            "$root" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    elif [ -n "$root" ]; then
        return 127 # a dry run without rights: what the other system has is not known
    else
        DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

# shellcheck disable=SC2016 # the inner shell expands it
has() { in_root sh -c 'command -v "$1" >/dev/null 2>&1' sh "$1" 2>/dev/null; }
live() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# put SOURCE TARGET MODE: a file of the release, with this machine's folders in it
put() {
    local source=$1 target=$2 mode=$3 text
    text=$(localised "$source" && echo .) || fail "$source cannot be read"
    text=${text%.}
    if [ -f "$root$target" ] && [ "$(cat "$root$target" && echo .)" = "$text." ] &&
        [ "$(stat -c %a "$root$target")" = "$mode" ]; then
        return 0
    fi
    change "write $target" put_now "$target" "$mode" "$text"
}

put_now() {
    mkdir -p "$(dirname "$root$1")"
    printf '%s' "$3" >"$root$1.new"
    chmod "$2" "$root$1.new"
    mv "$root$1.new" "$root$1"
}

localised() {
    sed -e "s|$USUAL_PREFIX|$prefix|g" -e "s|$USUAL_HOME|$home|g" -e "s|page\.example\.org|$domain|g" "$1"
}

# folder PATH MODE USER GROUP; a symlink in its place is refused
folder() {
    local path=$1 mode=$2 owner=$3 group=$4 now
    [ ! -L "$root$path" ] || fail "$path is a symbolic link; expected a folder"
    now=$(in_root stat -c '%a %U %G' "$path" 2>/dev/null) || now=''
    [ "$now" = "${mode#0} $owner $group" ] && return 0
    change "make folder $path ($mode, $owner:$group)" in_root install -d -m "$mode" -o "$owner" -g "$group" "$path"
}

gone() {
    local path
    for path in "$@"; do
        if [ -e "$root$path" ] || [ -L "$root$path" ]; then
            change "remove $path" rm -rf "$root$path"
        fi
    done
}

# ------------------------------------------------------------------ where the machine stands

ask() { # ask METHOD URL [HEADER]: the status and the first words of the answer; nothing without one
    python3 - "$@" <<'PY' 2>/dev/null
import sys, urllib.error, urllib.request
method, url, *headers = sys.argv[1:]
request = urllib.request.Request(url, method=method, headers=dict(h.split(": ", 1) for h in headers))
local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opened = local.open if "169.254." in url else urllib.request.urlopen
try:
    with opened(request, timeout=3) as reply:
        print(reply.status, reply.read(200).decode("utf-8", "replace").split("\n")[0])
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    sys.exit(1)
PY
}

region() {
    local token found status name problem=''
    if ! command -v python3 >/dev/null; then
        say "region: not checked, as Python is not here yet; \`tgtqr preflight\` asks again"
        return 0
    fi
    if token=$(ask PUT "$METADATA/latest/api/token" "X-aws-ec2-metadata-token-ttl-seconds: 60") &&
        [ "${token%% *}" = 200 ]; then
        found=$(ask GET "$METADATA/latest/meta-data/placement/region" "X-aws-ec2-metadata-token: ${token#* }") || found=''
        name=${found#* }
        on_ec2=yes
        say "region: EC2, $name"
        case $name in
            us-* | cn-*) problem="the region $name is in the United States or mainland China, whose addresses Bybit refuses" ;;
        esac
    else
        say "region: no EC2 metadata; not on EC2, or switched off"
    fi
    if status=$(ask GET "$EXCHANGE/v5/market/time"); then
        case ${status%% *} in
            200) say "region: Bybit answers this machine" ;;
            403) problem="${problem:-Bybit refuses this address (HTTP 403): a forbidden country, or too many requests}" ;;
            *) say "region: Bybit answered HTTP ${status%% *}" ;;
        esac
    else
        say "region: Bybit does not answer; no network, or it is down"
    fi
    [ -n "$problem" ] || return 0
    if [ "$region_check" = refuse ]; then
        fail "$problem. Choose a region elsewhere (eu-central-1, ap-northeast-1), or go on with --region-check warn" 4
    fi
    say "WARNING: $problem"
}

# ------------------------------------------------------------------ packages

family() {
    local id
    # shellcheck disable=SC1091 # of the other system
    id=$(. "$root/etc/os-release" 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || id=''
    case " $id " in
        *" amzn "*) echo dnf ;;
        *" debian "* | *" ubuntu "*) echo apt ;;
        *) fail "${root:-/}: neither Debian, Ubuntu nor Amazon Linux (os-release says '$id')" ;;
    esac
}

good_python() { # the first Python that is new enough and can make virtual environments
    local name
    for name in python3.11 python3 python3.12 python3.13 python3.14; do
        if in_root "$name" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return 0
        fi
    done
    return 1
}

packages() {
    local manager missing=()
    manager=$(family)
    if ! good_python >/dev/null; then
        if [ "$manager" = dnf ]; then missing+=(python3.11); else missing+=(python3 python3-venv); fi
    fi
    has make || missing+=(make)
    has chronyd || missing+=(chrony)
    has logrotate || missing+=(logrotate)
    has systemctl || missing+=(systemd)
    # by it the kit's user asks systemd whether the timers are on
    [ -e "$root/usr/share/dbus-1/system.conf" ] || missing+=(dbus)
    has flock || missing+=(util-linux)
    [ -e "$root/etc/ssl/certs/ca-certificates.crt" ] || [ -e "$root/etc/pki/tls/certs/ca-bundle.crt" ] ||
        missing+=(ca-certificates)
    if [ -n "$domain" ] && ! has caddy; then
        [ "$manager" = apt ] || fail "Amazon Linux has no package of Caddy; install it by hand, then run this again"
        missing+=(caddy)
    fi
    if [ ${#missing[@]} -gt 0 ]; then
        packages_new="${missing[*]}"
        if [ "$manager" = apt ]; then
            change "install the packages $packages_new (apt)" apt_install "${missing[@]}"
        else
            change "install the packages $packages_new (dnf)" in_root dnf install -y -q "${missing[@]}"
        fi
    fi
    [ "$dry" = yes ] || good_python >/dev/null ||
        fail "no Python 3.11 or newer with venv here; expected Debian 12, Ubuntu 24.04 or Amazon Linux 2023, or newer"
}

apt_install() {
    quietly in_root apt-get update -qq
    quietly in_root apt-get install -y -qq --no-install-recommends "$@"
}

quietly() { # what a command prints matters when it fails
    local said
    said=$("$@" 2>&1) || {
        printf '%s\n' "$said" | tail -n 20 >&2
        return 1
    }
}

# ------------------------------------------------------------------ users, folders, code

user() {
    local name=$1 text=$2
    in_root id -u "$name" >/dev/null 2>&1 && return 0
    change "make the user $name ($text), without a shell" in_root useradd --system --user-group --no-create-home \
        --home-dir "/var/cache/$name" --shell /usr/sbin/nologin --comment "TGT QR $text" "$name"
}

home_folders() {
    folder "$home" 0750 tgtqr tgtqr
    folder "$home/data" 2770 tgtqr tgtqr
    folder "$home/data/control" 2770 tgtqr tgtqr
    local name
    for name in data/candles data/funding data/book; do # the group of a folder in data is always tgtqr
        folder "$home/$name" 2750 tgtqr tgtqr
    done
    for name in outputs outputs/ticks outputs/reports outputs/logs; do
        folder "$home/$name" 0750 tgtqr tgtqr
    done
    folder "$home/backups" 0700 tgtqr tgtqr
    # after a reinstallation its users may have other numbers
    if [ -e "$root$home/data" ] && [ "$dry" = no ] &&
        in_root find "$home" ! -user tgtqr ! -user tgtqr-page -print -quit | grep -q .; then
        change "give what lies in $home to tgtqr" in_root chown -hR tgtqr:tgtqr "$home"
    fi
    folder /var/cache/tgtqr 0750 tgtqr tgtqr
    folder /var/cache/tgtqr-page 0700 tgtqr-page tgtqr-page
    folder /etc/tgtqr 0700 root root
}

packed() { # the checkout as a tar stream, the same bytes for the same content
    tar -C "$HERE" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' \
        --exclude=__pycache__ --exclude='*.pyc' --exclude='*.egg-info' --exclude=.ipynb_checkpoints \
        --exclude=docs/build -cf - "${PARTS[@]}"
}

version_here() {
    local number digest
    number=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$HERE/pyproject.toml")
    digest=$(packed | sha256sum | cut -c1-10)
    echo "$number-$digest"
}

current() { basename "$(readlink "$root$prefix/current" 2>/dev/null)" 2>/dev/null || true; }
previous() { basename "$(readlink "$root$prefix/previous" 2>/dev/null)" 2>/dev/null || true; }

release() { # makes release $1 complete; it is not used yet
    local name=$1 path=$prefix/releases/$1
    [ -f "$root$path/.complete" ] && return 0
    change "copy the code to $path" copy_code "$path"
    if cmp -s "$HERE/requirements.txt" "$root$prefix/current/requirements.txt"; then
        change "take its Python environment from $(current), whose requirements.txt is the same" take_over "$path"
    fi
    change "build its Python environment from the hashed requirements.txt (minutes, unless it was taken)" build "$path"
}

# A copy by hard links takes no room. A virtual environment knows its own path: in the first lines of its
# programs, and in the stamp by which `make env` sees that it was moved.
take_over() {
    local path=$1 old file
    old=$prefix/releases/$(current)
    [ -f "$root$old/.complete" ] || return 0
    cp -al "$root$old/.venv" "$root$path/.venv"
    while IFS= read -r file; do
        sed -i "s|$old/|$path/|g; s|$old\$|$path|" "$file"
    done < <(grep -rlIF "$old" "$root$path/.venv/bin" "$root$path/.venv/pyvenv.cfg")
    rm -f "$root$path/.venv/.ready" "$root$path/.venv/.locked"
    printf '%s\n' "$path" >"$root$path/.venv/.locked"
}

copy_code() {
    rm -rf "$root$1"
    install -d -m 0755 "$root$prefix" "$root$prefix/releases" "$root$1"
    packed | tar -C "$root$1" -xf -
}

build() {
    local path=$1 inside='' pip=(PIP_NO_CACHE_DIR=1)
    if [ -n "$wheels" ]; then
        inside=$wheels
        if [ -n "$root" ]; then
            inside=$prefix/wheels
            rm -rf "$root$inside"
            trap 'rm -rf "$root$prefix/wheels"' EXIT
            cp -rl "$wheels" "$root$inside" 2>/dev/null || cp -r "$wheels" "$root$inside"
        fi
        pip+=(PIP_NO_INDEX=1 "PIP_FIND_LINKS=$inside")
    fi
    in_root env "${pip[@]}" make --silent -C "$path" env >/dev/null ||
        fail "the Python environment of $path was not built; what ran before still runs"
    in_root "$path/.venv/bin/python" -m compileall -qq -j 0 "$path/tgtqr_lib" || true
    in_root "$path/.venv/bin/tgtqr" --help >/dev/null || fail "$path: tgtqr does not start; what ran before still runs"
    chmod -R go-w "$root$path"
    touch "$root$path/.complete"
}

switch_to() { # the new link takes the old one's place in one step
    local name=$1 before
    before=$(current)
    [ "$before" = "$name" ] && return 0
    change "use release $name${before:+ in place of $before}" switch_now "$name" "$before"
}

switch_now() {
    if [ -n "$2" ]; then
        ln -sfn "releases/$2" "$root$prefix/previous.new"
        mv -T "$root$prefix/previous.new" "$root$prefix/previous"
    fi
    ln -sfn "releases/$1" "$root$prefix/current.new"
    mv -T "$root$prefix/current.new" "$root$prefix/current"
}

prune_releases() { # the newest ones stay, and always the present one and the one before
    local name count=0
    [ -d "$root$prefix/releases" ] || return 0
    while IFS= read -r name; do
        if [ ! -f "$root$prefix/releases/$name/.complete" ]; then
            change "remove the release $name, which was never complete" rm -rf "$root$prefix/releases/$name"
            continue
        fi
        count=$((count + 1))
        if [ "$count" -gt "$keep" ] && [ "$name" != "$(current)" ] && [ "$name" != "$(previous)" ]; then
            change "remove the old release $name" rm -rf "$root$prefix/releases/$name"
        fi
    done < <(cd "$root$prefix/releases" && ls -1t)
}

# ------------------------------------------------------------------ what the release brings for the system

system_files() { # of the release whose schedules/ is $1
    local from=$1 file
    for file in "$from"/systemd/*.service "$from"/systemd/*.timer; do
        put "$file" "/etc/systemd/system/$(basename "$file")" 644
    done
    put "$from/systemd/tgtqr-.service.d/confined.conf" /etc/systemd/system/tgtqr-.service.d/confined.conf 644
    put "$from/etc/tmpfiles.conf" /etc/tmpfiles.d/tgtqr.conf 644
    put "$from/etc/logrotate" /etc/logrotate.d/tgtqr 644
    put "$from/etc/journald.conf" /etc/systemd/journald.conf.d/tgtqr.conf 644
    put "$from/etc/tgtqr.sh" /usr/local/bin/tgtqr 755
    for file in tgtqr.env page.env; do # the owner's, once they are there
        [ -e "$root/etc/tgtqr/$file" ] || put "$from/etc/$file" "/etc/tgtqr/$file" 600
    done
    if [ ! -e "$root$home/settings.toml" ]; then
        put "$from/etc/settings.toml" "$home/settings.toml" 640
        [ "$dry" = yes ] || in_root chown tgtqr:tgtqr "$home/settings.toml"
    fi
    if [ "$on_ec2" = yes ] && [ -d "$root/etc/chrony/sources.d" ]; then
        put "$from/etc/chrony.sources" /etc/chrony/sources.d/tgtqr.sources 644
    fi
    [ -z "$domain" ] || caddy_files "$from"
}

caddy_files() {
    local line="import /etc/caddy/tgtqr.caddy"
    put "$1/etc/caddy.example" /etc/caddy/tgtqr.caddy 644
    grep -qxF "$line" "$root/etc/caddy/Caddyfile" 2>/dev/null ||
        change "add '$line' to /etc/caddy/Caddyfile" append "$line" "$root/etc/caddy/Caddyfile"
}

append() { printf '%s\n' "$1" >>"$2"; }

remember() { # so that later commands need no options
    local text
    text=$(printf 'prefix=%s\nhome=%s\ndomain=%s\n' "$prefix" "$home" "$domain")
    [ "$(cat "$root/etc/tgtqr/deploy.conf" 2>/dev/null)" = "$text" ] ||
        change "remember prefix, home and domain in /etc/tgtqr/deploy.conf" put_now /etc/tgtqr/deploy.conf 600 "$text"
}

recall() {
    local file=$root/etc/tgtqr/deploy.conf
    if [ -r "$file" ]; then
        prefix=${prefix:-$(sed -n 's/^prefix=//p' "$file")}
        home=${home:-$(sed -n 's/^home=//p' "$file")}
        domain=${domain:-$(sed -n 's/^domain=//p' "$file")}
    fi
    prefix=${prefix:-$USUAL_PREFIX} home=${home:-$USUAL_HOME}
}

enable() {
    local unit
    for unit in "${SERVICES[@]}" "${TIMERS[@]}"; do
        [ -L "$root/etc/systemd/system/multi-user.target.wants/$unit" ] ||
            [ -L "$root/etc/systemd/system/timers.target.wants/$unit" ] ||
            change "enable $unit" in_root systemctl --quiet enable "$unit"
    done
}

# Without systemd at work (another root) the next boot does all of this.
start() {
    local unit
    live || return 0
    [ "$changes" -gt 0 ] || return 0
    change "reload systemd, make folders and permissions" reload
    for unit in "${TIMERS[@]}"; do
        systemctl is-active --quiet "$unit" || change "start $unit" systemctl start "$unit"
    done
    for unit in "${SERVICES[@]}"; do
        change "restart $unit" systemctl restart "$unit"
    done
    [ -z "$domain" ] || change "reload caddy" systemctl reload-or-restart caddy
}

reload() {
    systemctl daemon-reload
    systemd-tmpfiles --create /etc/tmpfiles.d/tgtqr.conf
    systemctl try-restart systemd-journald
    systemctl enable --quiet --now chrony 2>/dev/null || systemctl enable --quiet --now chronyd || true
}

make_ledger() { # so that the page finds one, with the mode that lets it arm
    [ -e "$root$home/data/trading_data.db" ] && return 0
    change "make the ledger" make_ledger_now
}

make_ledger_now() {
    in_root env TGTQR_HOME="$home" HOME=/var/cache/tgtqr setpriv --reuid=tgtqr --regid=tgtqr --init-groups \
        "$prefix/current/.venv/bin/python" -c 'import sys; from pathlib import Path; from tgtqr_lib import ledger
ledger.connect(Path(sys.argv[1])).close()' "$home/data/trading_data.db"
    chmod 0660 "$root$home/data/trading_data.db"
}

told_at_the_end() {
    if [ "$dry" = yes ]; then
        say "$changes changes; nothing was changed"
    elif [ "$changes" -eq 0 ]; then
        say "nothing to change: release $(current) is installed"
    else
        say "$changes changes made; release $(current) is installed"
    fi
}

hints() {
    cat <<TEXT

What is left to do by hand ($prefix/current/docs/deploy.md says more):
  firewall   let in 22 from your own address${domain:+, and 443 from everywhere}; nothing else. The page stays on 127.0.0.1:5000
  password   sudo tgtqr dashboard password, its line into /etc/tgtqr/page.env, systemctl restart tgtqr-page
  keys       of a demo or testnet account, if any, into /etc/tgtqr/tgtqr.env
  check      sudo tgtqr preflight
  begin      sudo tgtqr arm --reason "first week on the server"
TEXT
}

# ------------------------------------------------------------------ commands

run_install() {
    local name first=no
    [ -n "$(current)" ] || first=yes
    if [ -n "$domain" ] && ! grep -qs '^TGTQR_PASSWORD_HASH=.' "$root/etc/tgtqr/page.env"; then
        fail "--domain $domain opens the page to everybody; expected its password in /etc/tgtqr/page.env first" 2
    fi
    [ "$region_check" = off ] || [ -n "$root" ] || region
    packages
    user tgtqr "trades"
    user tgtqr-page "serves the page"
    home_folders
    name=$(version_here)
    release "$name"
    if live && [ -n "$(current)" ] && [ "$(current)" != "$name" ] && [ -e "$home/data/trading_data.db" ]; then
        change "back up the ledger" systemctl start tgtqr-backup.service || say "WARNING: the backup failed"
    fi
    system_files "$HERE/schedules"
    switch_to "$name"
    make_ledger
    remember
    enable
    prune_releases
    start
    told_at_the_end
    [ "$first" = no ] || [ "$dry" = yes ] || hints
}

run_upgrade() {
    [ -n "$(current)" ] || fail "there is nothing at $prefix to upgrade; expected \`deploy_aws.sh install\` first" 2
    run_install
}

run_rollback() {
    local name
    name=$(previous)
    if [ -z "$name" ] || [ ! -f "$root$prefix/releases/$name/.complete" ]; then
        fail "there is no release before $(current) to go back to" 2
    fi
    system_files "$root$prefix/releases/$name/schedules"
    switch_to "$name"
    start
    told_at_the_end
}

run_status() {
    say "release   $(current)"
    say "before    $(previous)"
    say "kept      $(cd "$root$prefix/releases" 2>/dev/null && echo *)"
    say "home      $home"
    say "domain    ${domain:-none}"
    live || return 0
    systemctl --no-pager --plain --no-legend list-units --all 'tgtqr-*' || true
    systemctl --no-pager --no-legend list-timers 'tgtqr-*' || true
    "$root/usr/local/bin/tgtqr" status || true
}

run_uninstall() {
    local unit name
    if live; then
        for unit in "${TIMERS[@]}" "${SERVICES[@]}"; do
            [ ! -e "/etc/systemd/system/$unit" ] || change "stop $unit" systemctl stop "$unit"
        done
        for unit in tick report backup; do # what is at work ends first
            [ ! -e "/etc/systemd/system/tgtqr-$unit.service" ] || systemctl stop "tgtqr-$unit.service" || true
        done
    fi
    for unit in "${SERVICES[@]}" "${TIMERS[@]}"; do
        [ ! -e "$root/etc/systemd/system/$unit" ] ||
            change "disable $unit" in_root systemctl --quiet disable "$unit"
    done
    for unit in "$root"/etc/systemd/system/tgtqr-*; do
        [ ! -e "$unit" ] || gone "${unit#"$root"}"
    done
    gone /etc/tmpfiles.d/tgtqr.conf /etc/logrotate.d/tgtqr /etc/systemd/journald.conf.d/tgtqr.conf \
        /etc/chrony/sources.d/tgtqr.sources /usr/local/bin/tgtqr /etc/caddy/tgtqr.caddy \
        /var/spool/cron/crontabs/tgtqr /var/spool/cron/tgtqr /var/lib/systemd/timers/stamp-tgtqr-report.timer \
        /var/lib/systemd/timers/stamp-tgtqr-backup.timer
    rmdir "$root/etc/systemd/journald.conf.d" 2>/dev/null || true
    if grep -qxF 'import /etc/caddy/tgtqr.caddy' "$root/etc/caddy/Caddyfile" 2>/dev/null; then
        change "take the import out of /etc/caddy/Caddyfile" sed -i '\|^import /etc/caddy/tgtqr.caddy$|d' \
            "$root/etc/caddy/Caddyfile"
        ! live || systemctl reload-or-restart caddy || true
    fi
    gone "$prefix" /var/cache/tgtqr /var/cache/tgtqr-page /etc/tgtqr
    if [ -d "$root$home" ] && [ "$(in_root stat -c %U "$home")" != root ]; then
        change "give $home to root" in_root chown -hR root:root "$home"
        [ "$dry" = yes ] || chmod 0700 "$root$home"
    fi
    for name in tgtqr-page tgtqr; do
        ! in_root id -u "$name" >/dev/null 2>&1 || change "remove the user $name" remove_user "$name"
    done
    if live; then
        systemctl daemon-reload
        systemctl reset-failed 'tgtqr-*' 2>/dev/null || true
    fi
    if [ "$dry" = yes ]; then
        say "$changes changes; nothing was changed"
    else
        say "$changes changes made. Kept: $home, with ledger, notebooks and backups, now root's; and the packages"
    fi
}

remove_user() {
    in_root userdel "$1"
    ! in_root getent group "$1" >/dev/null || in_root groupdel "$1"
}

# ------------------------------------------------------------------ command line

plain_path() { # absolute, and of letters that need no quoting in units and scripts
    case $2 in
        /*) [[ $2 =~ ^[A-Za-z0-9_./-]+$ ]] && [ "$2" != / ] && [[ $2 != *..* ]] && [[ $2 != */ ]] && return 0 ;;
    esac
    fail "$1 $2: expected an absolute path of plain letters" 2
}

while [ $# -gt 0 ]; do
    case $1 in
        install | upgrade | rollback | status | region | uninstall)
            [ -z "$command" ] || fail "two commands, $command and $1; expected one" 2
            command=$1
            ;;
        --dry-run) dry=yes ;;
        --help | -h) usage && exit 0 ;;
        --root | --prefix | --home | --domain | --region-check | --wheels | --keep)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
            case $1 in
                --root) root=$2 ;;
                --prefix) prefix=$2 ;;
                --home) home=$2 ;;
                --domain) domain=$2 ;;
                --region-check) region_check=$2 ;;
                --wheels) wheels=$2 ;;
                --keep) keep=$2 ;;
            esac
            shift
            ;;
        *) fail "$1 is not known; see --help" 2 ;;
    esac
    shift
done
[ -n "$command" ] || { usage >&2 && exit 2; }
if [ -n "$root" ]; then
    [ -d "$root" ] || fail "--root $root: there is no such folder" 2
    root=$(cd "$root" && pwd -P)
    [ "$root" != / ] || root=''
fi
recall
plain_path --prefix "$prefix"
plain_path --home "$home"
case $home/ in "$prefix"/*) fail "--home $home lies in --prefix $prefix, which uninstall removes" 2 ;; esac
[[ $keep =~ ^[1-9][0-9]?$ ]] || fail "--keep $keep: expected 1 to 99" 2
case $region_check in refuse | warn | off) ;; *) fail "--region-check $region_check: expected refuse, warn or off" 2 ;; esac
[ -z "$domain" ] || [[ $domain =~ ^([a-z0-9-]+\.)+[a-z0-9-]+$ ]] || fail "--domain $domain: expected a name such as page.example.org" 2
if [ -n "$wheels" ]; then
    [ -d "$wheels" ] || fail "--wheels $wheels: there is no such folder" 2
    wheels=$(cd "$wheels" && pwd -P)
fi
if [ "$dry" = no ] && [ "$command" != region ] && [ "$command" != status ] && [ "$(id -u)" -ne 0 ]; then
    fail "expected root (sudo), or --dry-run to see what it would do" 2
fi
umask 022
case $command in
    region) region ;;
    *) "run_$command" ;;
esac
