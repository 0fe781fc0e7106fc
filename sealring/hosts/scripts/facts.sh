# Clock, room and tools. Arguments: folders (the nearest one above is taken for an absent one). Changes nothing.
printf 'clock=%s\n' "$(date +%s%N)"
for tool in sha256sum base64 flock readlink sync getfacl setfacl getfattr chcon sudo systemctl; do
    if command -v "$tool" >/dev/null 2>&1; then printf 'tool=%s\n' "$tool"; fi
done
mounted() { # POINT: sets `mode`
    mode=rw
    while read -r _ point _ options _; do
        if [ "$point" = "$1" ]; then
            case ",$options," in
            *,ro,*) mode=ro ;;
            *) mode=rw ;;
            esac
        fi
    done </proc/mounts
}
room() { # FOLDER...: --output's columns are numbers without a unit; the mount point comes last, for it may have spaces
    df -B1 --output=avail,itotal,iavail,target "$@"
}
left=$#
while [ "$left" -gt 0 ]; do
    folder=$1
    while [ ! -e "$folder" ]; do
        folder=${folder%/*}
        folder=${folder:-/}
    done
    set -- "$@" "$1" "$folder"
    shift
    left=$((left - 1))
done
some -x room "$@" | {
    read -r _
    while [ $# -gt 0 ]; do
        read -r bytes inodes free mount || : # a folder that df does not tell of has no numbers, which is refused
        # What may be written is not read-only; what may not be is looked up in a table that is long.
        if [ -w "$2" ]; then mode=rw; else mounted "$mount"; fi
        printf 'folder=%s %s %s %s %s\n' "$bytes" "$inodes" "$free" "$mode" "$1"
        shift 2
    done
}
