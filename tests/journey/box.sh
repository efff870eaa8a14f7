#!/bin/bash
# Boots the systemd of this machine as PID 1 of namespaces of its own, over an overlay of / that is thrown away.
#   box.sh up DIR [SOURCE:TARGET]...   boot; each SOURCE can be read in the box at TARGET
#   box.sh run DIR COMMAND...          run a command in the box, as its root
#   box.sh down DIR                    end all of it
# Written is only below DIR, and one cgroup that `down` removes. Needs root, util-linux, a cgroup2 hierarchy.
set -eu
verb=$1 DIR=$2
shift 2

inside() { nsenter -t "$(cat "$DIR/pid1")" -m -p -n -u -i -C -r -w -- "$@"; }

up() {
  local groups=/sys/fs/cgroup state=
  [ ! -d $groups/unified ] || groups=$groups/unified
  mkdir -p "$DIR/m"
  GROUP=$groups/inboxd-box-$$
  mkdir "$GROUP"
  echo "$GROUP" >"$DIR/cgroup"
  printf '%s\n' "$@" >"$DIR/binds"
  export GROUP
  # What joins the group before it takes a namespace of it sees that group as the root. It works in / so as to hold
  # no folder of the caller's, and has no terminal.
  setsid bash -c 'echo $$ >"$GROUP/cgroup.procs"; cd /
    exec unshare --pid --fork --kill-child=KILL --mount --propagation private --cgroup --uts --ipc --net \
      bash "$0" init "$1"' "$(realpath "$0")" "$DIR" </dev/null >"$DIR/console" 2>&1 &
  local outer=$!
  echo $outer >"$DIR/outer"
  for _ in $(seq 300); do
    if pgrep -P $outer >"$DIR/pid1"; then
      state=$(inside systemctl is-system-running 2>/dev/null) || true
      case $state in running | degraded) return ;; esac
    fi
    kill -0 $outer 2>/dev/null || break
    sleep 0.1
  done
  echo "the box did not come up: ${state:-PID 1 died}" >&2
  tail -20 "$DIR/console" >&2
  return 1
}

# From here to its last line this is the box's PID 1, until systemd takes its place.
init() {
  local root=$DIR/m/root name major minor unit source target
  mount -t tmpfs -o mode=755 box "$DIR/m"
  mkdir "$DIR"/m/{upper,work,root}
  mount -t overlay -o "lowerdir=/,upperdir=$DIR/m/upper,workdir=$DIR/m/work" box "$root"
  mount -t proc proc "$root/proc"
  for name in sys sysrq-trigger; do
    [ -e "$root/proc/$name" ] || continue
    mount --bind "$root/proc/$name" "$root/proc/$name"
    mount -o remount,bind,ro "$root/proc/$name"
  done
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755,nosuid dev "$root/dev"
  while read -r name major minor; do mknod -m 666 "$root/dev/$name" c "$major" "$minor"; done <<'NODES'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
NODES
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"
  ln -s fd/1 "$root/dev/stdout"
  ln -s fd/2 "$root/dev/stderr"
  ln -s pts/ptmx "$root/dev/ptmx"
  mkdir "$root"/dev/{pts,shm}
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
  mount -t tmpfs -o mode=755 run "$root/run"
  mount -t tmpfs -o mode=1777 tmp "$root/tmp"
  # Nothing of this machine's own services; only what every system has at its base.
  rm -rf "$root"/etc/systemd/system/*.wants "$root"/var/log/journal
  : >"$root/etc/fstab"
  echo 1ab0cd0000000000000000000000b0c5 >"$root/etc/machine-id"
  mkdir -p "$root/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n' >"$root/etc/systemd/journald.conf.d/box.conf"
  printf '[Unit]\nRequires=sysinit.target sockets.target\nAfter=basic.target\nAllowIsolate=yes\n' \
    >"$root/etc/systemd/system/box.target"
  for unit in systemd-{udevd,udev-trigger,modules-load,hwdb-update,pstore,timesyncd,firstboot,sysctl,binfmt}.service \
    systemd-{random-seed,update-utmp,remount-fs,journal-flush,machine-id-commit,update-done}.service \
    systemd-{udevd-kernel,udevd-control}.socket systemd-journal-catalog-update.service systemd-network-generator.service \
    systemd-ask-password-{console,wall}.path ldconfig.service getty.target tmp.mount proc-sys-fs-binfmt_misc.automount \
    dev-{hugepages,mqueue}.mount sys-{kernel-debug,kernel-tracing,fs-fuse-connections,kernel-config}.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  while IFS=: read -r source target; do
    [ -n "$source" ] || continue
    mkdir -p "$root$target"
    mount --bind "$source" "$root$target"
    mount -o remount,bind,ro "$root$target"
  done <"$DIR/binds"
  cd "$root"
  mkdir .old
  pivot_root . .old
  cd /
  umount -l /.old
  rmdir /.old
  # Or the mounts of LoadCredential= would not reach the unit.
  mount --make-rshared /
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=box LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=box.target --show-status=no
}

down() {
  local outer group
  outer=$(cat "$DIR/outer") group=$(cat "$DIR/cgroup")
  # With its PID 1 everything in the box dies.
  [ ! -s "$DIR/pid1" ] || kill -KILL "$(cat "$DIR/pid1")" 2>/dev/null || true
  for _ in $(seq 200); do
    case $(cut -d' ' -f3 "/proc/$outer/stat" 2>/dev/null) in '' | Z) break ;; esac
    sleep 0.02
  done
  for _ in $(seq 200); do
    find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [ -d "$group" ] || return 0
    sleep 0.02
  done
  echo "left over: $group" >&2
  return 1
}

case $verb in
up) up "$@" ;;
init) init ;;
run) inside "$@" ;;
down) down ;;
*) echo "what is $verb?" >&2; exit 2 ;;
esac
