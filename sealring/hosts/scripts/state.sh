# Read a node's generations. Arguments: the paths of the store files. Changes nothing.
if [ -e "$state_dir/intent.json" ]; then
    printf 'intent=%s\n' "$(encoded "$state_dir/intent.json")"
fi
if [ -e "$state_dir/last.json" ]; then
    printf 'last=%s\n' "$(encoded "$state_dir/last.json")"
    printf 'last_at=%s\n' "$(stat -c %Y "$state_dir/last.json")"
fi
for link in current previous; do
    linked "$link"
    id=$name
    if [ -n "$id" ] && [ -r "$tls_dir/generations/$id/manifest.json" ]; then
        printf '%s=%s\n' "$link" "$id"
        printf '%s_manifest=%s\n' "$link" "$(encoded "$tls_dir/generations/$id/manifest.json")"
        if [ "$link" = current ] && intact "$tls_dir/generations/$id"; then printf 'whole=yes\n'; fi
    fi
done
if { [ -e "$tls_dir/generations" ] || [ -L "$tls_dir/generations" ]; } && [ ! -d "$tls_dir/generations" ]; then
    fail node.layout-unsupported "$tls_dir/generations"
fi
if [ -d "$tls_dir/generations" ]; then
    [ -r "$tls_dir/generations" ] && [ -x "$tls_dir/generations" ] || fail node.permission "$tls_dir/generations"
    for folder in "$tls_dir"/generations/*; do
        if is_id "${folder##*/}" && [ -f "$folder/manifest.json" ]; then
            printf 'generation=%s\n' "${folder##*/}"
        fi
    done
fi
left=$#
while [ "$left" -gt 0 ]; do
    if [ -e "$1" ] && [ ! -f "$1" ]; then
        fail node.not-a-file "$1"
    elif [ -r "$1" ]; then
        set -- "$@" "$1"
    elif [ -e "$1" ]; then
        fail node.permission "$1"
    fi
    shift
    left=$((left - 1))
done
digests "$@"
for path; do
    next
    printf 'store=%s %s\n' "$digest" "$path"
done
