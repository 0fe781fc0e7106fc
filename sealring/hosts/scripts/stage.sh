# Write a generation beside those that are there. Arguments: NAME MODE PATH SIZE for each file, in the order in which
# their contents follow on stdin once `#ready` was said. Nothing that is in force is touched.
lock
guard
if [ "$anew" = no ] && intact "$tls_dir/generations/$id" && named "$tls_dir/generations/$id"; then
    printf 'skipped=yes\n'
    exit 0
fi
open_incoming
printf '#ready\n'
while [ $# -gt 0 ]; do
    # The mode is set while the file is empty; the open descriptor writes whatever the mode.
    exec 8>"$incoming/$1"
    chmod "$2" "$incoming/$1"
    head -c "$4" >&8
    exec 8>&-
    # With slots the service reads this very file: it gets the attributes of the one in force.
    if [ -f "$3" ]; then like "$(readlink -f "$3")" "$incoming/$1"; else own "$incoming/$1"; fi
    shift 4
done
close_incoming node.transfer-damaged
printf 'skipped=no\n'
