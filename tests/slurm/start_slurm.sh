#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, for the tests: munge, MariaDB with slurmdbd, slurmctld
# and slurmd, all on the loopback address. Needs root, and no systemd. Called again, it starts what is
# missing and leaves the rest alone.
#
#   ATLAS_SLURM        folder of its state, logs and pid files (default: $TMPDIR/delta-atlas-slurm)
#   ATLAS_GPU_DEVICES  one device file per pretended GPU, with commas (default: /dev/null)
#
# Exit status 77: this machine cannot be such a node (the reason is the last line).
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
state=${ATLAS_SLURM:-${TMPDIR:-/tmp}/delta-atlas-slurm}
devices=${ATLAS_GPU_DEVICES:-/dev/null}
node=$(hostname -s)
signature="# tests/slurm/start_slurm.sh wrote this file."
declare -A package=(
    [munged]=munge [slurmctld]=slurmctld [slurmd]=slurmd [sbatch]=slurm-client
    [slurmdbd]=slurmdbd [mariadbd]=mariadb-server-core [mariadb]=mariadb-client-core
)

cannot() { echo "$*" >&2; exit 77; }

patiently() { # SECONDS COMMAND...: until the command succeeds
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            echo "waited in vain for: $*" >&2
            tail -n 20 "$state"/log/*.log >&2 || true
            exit 1
        fi
        sleep 0.1
    done
}

runs() { # NAME: whether the daemon of this pid file lives
    local pid
    pid=$(cat "$state/run/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ]
}

install_packages() {
    local missing=() policy=/usr/sbin/policy-rc.d made=
    for program in "${!package[@]}"; do
        command -v "$program" >/dev/null || missing+=("${package[$program]}")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || cannot "no apt-get to install ${missing[*]} with"
    # The packages must not start daemons of their own.
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; made=yes
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || true
    local status=0
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$state/log/apt.log" 2>&1 || status=$?
    [ -z "$made" ] || rm -f "$policy"
    ((status == 0)) || { tail -n 5 "$state/log/apt.log" >&2; cannot "apt-get cannot install ${missing[*]}"; }
}

# Daemons listen on the address of the host's name.
name_is_loopback() {
    case "$(getent ahostsv4 "$node" | awk 'NR == 1 {print $1}')" in
        127.*) ;;
        *) echo "127.0.0.1 $node" >>/etc/hosts ;;
    esac
}

# The plug-in forgets SLURM_CONF inside jobs, so the files stand where SLURM looks by itself.
write_configuration() {
    local shape memory count
    shape=$(slurmd -C | grep -oE '(CPUs|Boards|SocketsPerBoard|CoresPerSocket|ThreadsPerCore)=[0-9]+' | xargs)
    memory=$(slurmd -C | grep -oE 'RealMemory=[0-9]+' | cut -d= -f2)
    count=$(tr ',' '\n' <<<"$devices" | wc -l)
    cat >/etc/slurm/slurm.conf <<END
$signature
ClusterName=atlas
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A job of a failed node is queued again after so many seconds (by default, 120).
AuthInfo=cred_expire=15
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=512
ReturnToService=1
MinJobAge=3600
KillWait=5
# Without cgroups, the memory of a job is looked at every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStorageTRES=gres/gpu,gres/gpu:h100
AccountingStoreFlags=job_comment
GresTypes=gpu
NodeName=$node NodeAddr=127.0.0.1 $shape RealMemory=$((memory * 9 / 10)) Gres=gpu:h100:$count State=UNKNOWN
PartitionName=cpu Nodes=$node Default=YES MaxTime=INFINITE State=UP
PartitionName=h100 Nodes=$node Default=NO MaxTime=INFINITE State=UP
END
    cat >/etc/slurm/gres.conf <<END
$signature
AutoDetect=off
Name=gpu Type=h100 File=$devices
END
    (umask 077 && cat >/etc/slurm/slurmdbd.conf <<END
$signature
AuthType=auth/munge
DbdHost=$node
DbdAddr=127.0.0.1
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile=$state/run/slurmdbd.pid
LogFile=$state/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$database_port
StorageUser=slurm
StoragePass=$(cat "$state/password")
StorageLoc=slurm
END
    )
}

start_munge() {
    if munge -n 2>/dev/null | unmunge >/dev/null 2>&1; then return; fi
    install -d -o munge -g munge -m 700 /etc/munge /var/log/munge /var/lib/munge
    install -d -o munge -g munge -m 755 /run/munge
    if [ ! -s /etc/munge/munge.key ]; then
        (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
    fi
    chown munge:munge /etc/munge/munge.key
    chmod 600 /etc/munge/munge.key
    rm -f /run/munge/munge.socket.2*
    runuser -u munge -- "$(command -v munged)"
    patiently 10 sh -c 'munge -n | unmunge'
    cp /run/munge/munged.pid "$state/run/munged.pid"
}

database() { mariadb --no-defaults -S "$state/db/socket" "$@"; }

start_database() {
    id mysql >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin mysql
    install -d -o mysql -g mysql -m 755 "$state/db"
    runs mariadbd && return
    if [ ! -d "$state/db/data/mysql" ]; then
        install -d -o mysql -g mysql -m 700 "$state/db/data"
        mariadb-install-db --no-defaults --user=mysql --datadir="$state/db/data" --skip-test-db \
            --auth-root-authentication-method=socket >"$state/log/mariadb-install.log" 2>&1
    fi
    setsid mariadbd --no-defaults --user=mysql --datadir="$state/db/data" --socket="$state/db/socket" \
        --pid-file="$state/db/pid" --bind-address=127.0.0.1 --port="$database_port" \
        --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 \
        --log-error="$state/db/mariadb.log" </dev/null >/dev/null 2>&1 &
    patiently 60 database -e 'select 1'
    cp "$state/db/pid" "$state/run/mariadbd.pid"
    database <<END
create database if not exists slurm;
create or replace user slurm@'127.0.0.1' identified by '$(cat "$state/password")';
grant all on slurm.* to slurm@'127.0.0.1';
END
}

start_accounting() {
    runs slurmdbd || slurmdbd
    patiently 60 sacctmgr -n show cluster
    [ -n "$(sacctmgr -n show cluster atlas format=cluster)" ] || sacctmgr -i add cluster atlas >/dev/null
}

node_is_up() { sinfo -h -n "$node" -o %T | grep -qxE 'idle|mixed|allocated|completing'; }

start_scheduler() {
    runs slurmctld || slurmctld
    patiently 30 scontrol ping
    runs slurmd || slurmd
    for _ in {1..50}; do
        if node_is_up; then return; fi
        sleep 0.1
    done
    # A daemon that was killed may have left the node drained.
    scontrol update nodename="$node" state=resume || true
    patiently 30 node_is_up
}

[ "$(id -u)" = 0 ] || cannot "only root can start the daemons of SLURM"
for file in slurm.conf gres.conf slurmdbd.conf; do
    if [ -s "/etc/slurm/$file" ] && ! grep -qxF "$signature" "/etc/slurm/$file"; then
        cannot "/etc/slurm/$file belongs to another cluster"
    fi
done
mkdir -p "$state"/{ctld,spool,log,run} /etc/slurm
chmod 755 "$state"
database_port=33106
install_packages
[ -s "$state/password" ] || (umask 077 && head -c 24 /dev/urandom | base64 | tr -d '/+=' >"$state/password")
name_is_loopback
write_configuration
start_munge
start_database
start_accounting
start_scheduler
sinfo -N -o '%N %P %T %c CPUs %m MB %G'
