# A unit and its process.
command -v systemctl >/dev/null 2>&1 || fail node.tool-missing systemctl
properties() { # LINES of `systemctl show`; what stands there twice is kept so, and refused as an answer
    load= active= sub= pid= restarts= group=
    set -f
    IFS=$newline
    for line in $1; do
        case $line in
        LoadState=*) load=$load${load:+$newline}${line#*=} ;;
        ActiveState=*) active=$active${active:+$newline}${line#*=} ;;
        SubState=*) sub=$sub${sub:+$newline}${line#*=} ;;
        MainPID=*) pid=$pid${pid:+$newline}${line#*=} ;;
        NRestarts=*) restarts=$restarts${restarts:+$newline}${line#*=} ;;
        ControlGroup=*) group=$group${group:+$newline}${line#*=} ;;
        esac
    done
    unset IFS
    set +f
}
shown=$(systemctl show -p LoadState,ActiveState,SubState,MainPID,NRestarts,ControlGroup "$unit")
properties "$shown"
[ "$load" != not-found ] || fail node.service-missing "there is no unit $unit on this node"
# An init script under systemd has no main process (GuessMainPID=no): find Cassandra's among the unit's processes.
if [ "${pid:-0}" = 0 ] && [ -n "$group" ]; then
    for processes in "/sys/fs/cgroup$group/cgroup.procs" "/sys/fs/cgroup/systemd$group/cgroup.procs"; do
        [ -r "$processes" ] || continue
        while read -r candidate; do
            if tr '\0' '\n' <"/proc/$candidate/cmdline" 2>/dev/null | grep -q '\.CassandraDaemon$'; then pid=$candidate; fi
        done <"$processes"
    done
fi
printf 'active=%s\nsub=%s\nrestarts=%s\n' "$active" "$sub" "$restarts"
started() { # WORDS of /proc/PID/stat from the third on: the start is the 22nd
    printf 'started=%s\n' "${20}"
}
# A process of a crash loop may end between two looks at it: then there is none.
stat=
if [ "${pid:-0}" != 0 ]; then
    # The command's name may hold spaces, brackets and newlines: words are counted behind its last bracket.
    { while IFS= read -r line; do stat=$line; done <"/proc/$pid/stat"; } 2>/dev/null || stat=
fi
if [ -n "$stat" ] && owner=$(stat --printf 'user=%U\ngroup=%G' "/proc/$pid" 2>/dev/null); then
    printf 'pid=%s\n' "$pid"
    # shellcheck disable=SC2086  # its words are wanted
    started ${stat##*) }
    printf '%s\n' "$owner"
fi
