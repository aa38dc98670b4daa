#!/usr/bin/env bash
# Cancel the jobs of start_slurm.sh's cluster, stop its daemons, and remove what it wrote.
set -u
export PATH="$PATH:/usr/sbin:/sbin"
state=${ATLAS_SLURM:-${TMPDIR:-/tmp}/delta-atlas-slurm}
signature="# tests/slurm/start_slurm.sh wrote this file."

is() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }

# Jobs first: their steps would outlive slurmd.
if grep -qsxF "$signature" /etc/slurm/slurm.conf && timeout 10 scontrol ping >/dev/null 2>&1; then
    timeout 10 scancel --user=root
    for _ in {1..100}; do
        [ -n "$(timeout 5 squeue -h -t running,completing)" ] || break
        sleep 0.1
    done
fi
for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
    file=$state/run/$daemon.pid
    pid=$(cat "$file" 2>/dev/null) || continue
    if [ -n "$pid" ] && is "$pid" "$daemon"; then
        kill "$pid"
        for _ in {1..150}; do is "$pid" "$daemon" || break; sleep 0.1; done
        if is "$pid" "$daemon"; then kill -9 "$pid"; fi
    fi
    rm -f "$file"
done
for file in slurm.conf gres.conf slurmdbd.conf; do
    if grep -qsxF "$signature" "/etc/slurm/$file"; then rm -f "/etc/slurm/$file"; fi
done
rm -rf "$state"
