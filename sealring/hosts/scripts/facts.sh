# Clock, room and tools. Arguments: folders (the nearest one above is taken for an absent one). Changes nothing.
printf 'clock=%s\n' "$(date +%s%N)"
for tool in sha256sum base64 flock readlink sync getfacl setfacl getfattr chcon sudo systemctl; do
    if command -v "$tool" >/dev/null 2>&1; then printf 'tool=%s\n' "$tool"; fi
done
for wanted in "$@"; do
    folder=$wanted
    while [ ! -e "$folder" ]; do
        folder=${folder%/*}
        folder=${folder:-/}
    done
    # --output's columns are numbers without a unit; the mount point comes last, for it may have spaces.
    set -f
    # shellcheck disable=SC2046  # the words are wanted
    set -- $(df -B1 --output=avail,itotal,iavail "$folder" | tail -n 1)
    set +f
    mount=$(df --output=target "$folder" | tail -n 1)
    mode=rw
    while read -r _ point _ options _; do
        if [ "$point" = "$mount" ]; then
            case ",$options," in
            *,ro,*) mode=ro ;;
            *) mode=rw ;;
            esac
        fi
    done </proc/mounts
    printf 'folder=%s %s %s %s %s\n' "$1" "$2" "$3" "$mode" "$wanted"
done
