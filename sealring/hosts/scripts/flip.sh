# Put a generation in force. Arguments: NAME PATH for each store file, truststores first.
# Every step may be the last before a kill: the next run of the same finds out what is left to do.
lock
guard
generation="$tls_dir/generations/$id"
[ -d "$generation" ] || fail node.generation-missing "$id"
intact "$generation" || fail node.generation-damaged "$id"
linkable current
linkable previous
[ -n "$(linked current)" ] || fail node.not-backed-up "$tls_dir/current"

beside() { # PATH: the real file and the draft that will replace it
    real=$(readlink -f "$1")
    draft="${real%/*}/.${real##*/}.sealring"
}
complete() { # NAME PATH
    [ -f "$generation/$1" ] || fail node.generation-incomplete "$1"
}
backed_up() { # NAME PATH: a rollback would bring back something else than what is there now
    [ "$(digest "$2")" = "$(digest "$tls_dir/generations/$(linked current)/$1")" ] || fail node.drifted "$2"
}
clean() { # NAME PATH
    beside "$2"
    rm -f "$draft"
}
prepare() { # NAME PATH
    beside "$2"
    if [ -f "$real" ] && [ "$(digest "$real")" = "$(digest "$generation/$1")" ]; then return 0; fi
    changed=yes
    cat "$generation/$1" >"$draft"
    if [ -f "$real" ]; then like "$real" "$draft"; else like "$generation/$1" "$draft"; fi
    sync "$draft"
    [ "$(digest "$draft")" = "$(digest "$generation/$1")" ] || fail node.transfer-damaged "$1"
}
replace() { # NAME PATH
    beside "$2"
    if [ -f "$draft" ]; then
        mv -T -f "$draft" "$real"
        sync "${real%/*}"
    fi
}
refresh() { # NAME PATH: an older generation has an older mtime, which Cassandra before 4.1.4 takes for no change
    touch -- "$generation/$1"
}
check() { # NAME PATH
    [ "$(digest "$2")" = "$(digest "$generation/$1")" ] || fail node.drifted "$2"
}

changed=no
each complete "$@"
if [ -z "$intent" ]; then each backed_up "$@"; fi
if [ "$layout" = in-place ]; then each clean "$@"; fi
write_intent "$step" "$id"
if [ "$layout" = in-place ]; then
    each prepare "$@"
    each replace "$@"
fi
# Back where this rollout began, the link is what it was then.
if [ "$id" = "$from" ]; then wanted=$before; else wanted=$from; fi
if [ "$(linked previous)" != "$wanted" ]; then
    if [ -n "$wanted" ]; then relink previous "$wanted"; else rm -f "$tls_dir/previous"; fi
fi
if [ "$(linked current)" != "$id" ]; then
    changed=yes
    if [ "$layout" = slots ]; then each refresh "$@"; fi
    relink current "$id"
fi
rm -f "$tls_dir/.current.sealring" "$tls_dir/.previous.sealring"
each check "$@"
printf 'changed=%s\nprevious=%s\n' "$changed" "$wanted"
