# Read a node's generations. Arguments: the paths of the store files. Changes nothing.
texts() { # KEY FILE...: KEY=CONTENT for each, in base64; no process cuts what is short anyway
    short=yes
    if some -x are_files "$@" && said=$(some -x sizes "$@" 2>/dev/null); then
        for bytes in $said; do
            if [ "$bytes" -gt 1048576 ]; then short=no; fi
        done
    else
        short=no
    fi
    each 2 text "$@"
}
sizes() { # FILE...
    stat -L -c %s "$@"
}
text() { # KEY FILE
    if [ "$short" = yes ]; then said=$(base64 -w 0 "$2" || :); else said=$(encoded "$2"); fi
    printf '%s=%s\n' "$1" "$said"
}
ours() { # what our own files say
    if [ -e "$state_dir/intent.json" ]; then set -- "$@" intent "$state_dir/intent.json"; fi
    if [ -e "$state_dir/last.json" ]; then
        set -- "$@" last "$state_dir/last.json"
        printf 'last_at=%s\n' "$(stat -c %Y "$state_dir/last.json")"
    fi
    for link in current previous; do
        linked "$link"
        folder="$tls_dir/generations/$name"
        if [ -n "$name" ] && [ -r "$folder/manifest.json" ]; then
            printf '%s=%s\n' "$link" "$name"
            set -- "$@" "${link}_manifest" "$folder/manifest.json"
            if [ "$link" = current ] && intact "$folder"; then printf 'whole=yes\n'; fi
        fi
    done
    if [ $# -gt 0 ]; then texts "$@"; fi
}
ours
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
