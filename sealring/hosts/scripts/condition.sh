# What a node may stumble over when its stores are replaced or its service is restarted. Arguments: the paths of the
# stores. Expects config, pid, unit, data (folders, a line each), commitlog, log. Changes nothing; what cannot be told
# has no line.
look_at() { # REAL...: the file behind each store, then device:inode and the number of its names
    for real; do
        printf 'real=%s\n' "$real"
        mounted_file "$real"
    done
    stat --printf 'inode=%d:%i %h %n\n' "$@" 2>/dev/null || : # what is not there has no line
}
mounted_file() { # FILE: is it a mount point itself?
    case $mounts in
    *" $1 "*) printf 'mounted=%s\n' "$1" ;;
    esac
}
mounts=' '
while read -r _ _ _ _ point _; do
    if [ -f "$point" ]; then mounts="$mounts$point "; fi
done </proc/self/mountinfo
if reals=$(readlink -m "$@" 2>/dev/null); then
    set -f
    IFS=$newline
    # shellcheck disable=SC2086  # its lines are wanted
    look_at $reals
    unset IFS
    set +f
fi
# Who else writes here. A banner stands at the top; an agent is a process, or a job of cron or systemd.
managed='\(managed\|generated\|maintained\|controlled\|written\|deployed\) by\|puppet\|chef\|ansible\|saltstack'
printf 'banner=%s\n' "$(sed -n "1,15{/^[[:space:]]*#.*\\($managed\\)/I{p;q}}" "$config" 2>/dev/null || :)"
for process in /proc/[0-9]*/comm; do
    name=
    { read -r name <"$process"; } 2>/dev/null || :
    case $name in
    puppet | puppet-agent | chef-client | salt-minion | cf-execd | cf-agent) printf 'agent=%s is running\n' "$name" ;;
    esac
done
for job in /etc/cron.d/*puppet* /etc/cron.d/*chef* /etc/cron.d/*ansible* /etc/systemd/system/*puppet*.timer \
    /etc/systemd/system/*chef*.timer /etc/systemd/system/*ansible*.timer; do
    if [ -e "$job" ]; then printf 'agent=%s\n' "$job"; fi
done
# Would it start again?
printf 'unit=%s\n' "$(systemctl is-enabled "$unit" 2>/dev/null || :)"
while read -r name amount _; do
    case $name in
    MemTotal:) printf 'memory=%s\n' "$amount" ;;
    MemAvailable:) printf 'available=%s\n' "$amount" ;;
    esac
done </proc/meminfo
rss() {
    while read -r name amount _; do
        if [ "$name" = VmRSS: ]; then printf 'resident=%s\n' "$amount"; fi
    done <"/proc/$pid/status"
}
if [ "$pid" != 0 ]; then { rss; } 2>/dev/null || :; fi
set -f
IFS=$newline
# shellcheck disable=SC2086  # its lines are wanted
set -- $data ${commitlog:+"$commitlog"}
unset IFS
set +f
left=$#
while [ "$left" -gt 0 ]; do # those that are there
    if [ -d "$1" ]; then set -- "$@" "$1"; fi
    shift
    left=$((left - 1))
done
if [ $# -gt 0 ]; then
    df -k --output=avail,size,file "$@" 2>/dev/null | {
        read -r _ || :
        while read -r line; do printf 'room=%s\n' "$line"; done
    }
fi
if [ -d "$commitlog" ]; then
    du -sk "$commitlog" 2>/dev/null | { read -r amount _ && printf 'commitlog=%s\n' "$amount" || :; }
fi
# How long the last start took: from the first line of a start to the one that says it serves clients.
if [ -r "$log" ]; then
    grep -e 'Configuration location:' -e 'Starting listening for CQL clients' "$log" | tail -n 8 |
        sed 's/^\(.\{1,160\}\).*/start=\1/'
fi
# What its Java refuses. The file is the one of the running process's Java.
if [ "$pid" != 0 ] && java=$(readlink "/proc/$pid/exe" 2>/dev/null); then
    printf 'java=%s\n' "$java"
    home=${java%/bin/java}
    for file in "$home/conf/security/java.security" "$home/lib/security/java.security" \
        "$home/jre/lib/security/java.security"; do
        if [ -r "$file" ]; then
            sed -n -e ':more' -e '/\\$/{N;s/\\\n[[:space:]]*//;b more' -e '}' \
                -e '/^jdk\.\(tls\.disabledAlgorithms\|certpath\.disabledAlgorithms\|disabled\.namedCurves\)[ =]/s/^/disabled=/p' "$file"
            break
        fi
    done
fi
