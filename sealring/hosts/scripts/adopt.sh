# Keep what is in force as a generation: the backup. Arguments: NAME PATH for each store file.
# The sums are of what the worker read: a file that changed since then is noticed here.
lock
guard
linkable current
linkable previous
changed=no
# The same material in other bytes (PKCS#12 differs at each write) is kept anew: a backup is exact.
kept() {
    intact "$1" && (cd "$1" && printf '%s' "$sums" | sha256sum -c --strict --quiet) >/dev/null 2>&1
}
copy() { # NAME PATH...
    left=$#
    while [ "$left" -gt 0 ]; do
        real=$(readlink -f "$2")
        cp --preserve=all -- "$real" "$incoming/$1"
        set -- "$@" "$real" "$incoming/$1"
        shift 2
        left=$((left - 2))
    done
    alike "$@"
}
if ! kept "$tls_dir/generations/$id"; then
    changed=yes
    open_incoming
    copy "$@"
    close_incoming node.changed-meanwhile
fi
linked current
current=$name
if [ "$current" != "$id" ] && [ -z "$intent" ]; then
    changed=yes
    if [ -n "$current" ]; then relink previous "$current"; fi
    relink current "$id"
fi
printf 'changed=%s\n' "$changed"
