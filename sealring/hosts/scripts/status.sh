# A unit and its process.
command -v systemctl >/dev/null 2>&1 || fail node.tool-missing systemctl
shown=$(systemctl show -p LoadState,ActiveState,SubState,MainPID,NRestarts,ControlGroup "$unit")
property() { # NAME
    printf '%s\n' "$shown" | sed -n "s/^$1=//p"
}
[ "$(property LoadState)" != not-found ] || fail node.service-missing "there is no unit $unit on this node"
pid=$(property MainPID)
group=$(property ControlGroup)
# An init script under systemd has no main process (GuessMainPID=no): find Cassandra's among the unit's processes.
if [ "${pid:-0}" = 0 ] && [ -n "$group" ]; then
    for processes in "/sys/fs/cgroup$group/cgroup.procs" "/sys/fs/cgroup/systemd$group/cgroup.procs"; do
        [ -r "$processes" ] || continue
        while read -r candidate; do
            if tr '\0' '\n' <"/proc/$candidate/cmdline" 2>/dev/null | grep -q '\.CassandraDaemon$'; then pid=$candidate; fi
        done <"$processes"
    done
fi
printf 'active=%s\nsub=%s\nrestarts=%s\n' "$(property ActiveState)" "$(property SubState)" "$(property NRestarts)"
# A process of a crash loop may end between two looks at it: then there is none.
if [ "${pid:-0}" != 0 ] && stat=$(cat "/proc/$pid/stat" 2>/dev/null) &&
    user=$(stat -c %U "/proc/$pid" 2>/dev/null) && group=$(stat -c %G "/proc/$pid" 2>/dev/null); then
    # The command's name may hold spaces and brackets: fields are counted behind its last bracket. Start: field 22.
    printf 'pid=%s\nstarted=%s\n' "$pid" "$(printf '%s' "$stat" | sed 's/.*) //' | cut -d ' ' -f 20)"
    printf 'user=%s\ngroup=%s\n' "$user" "$group"
fi
