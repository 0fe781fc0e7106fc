# Put a generation in force. Arguments: NAME PATH for each store file, truststores first.
# Every step may be the last before a kill: the next run of the same finds out what is left to do.
lock
guard
generation="$tls_dir/generations/$id"
[ -d "$generation" ] || fail node.generation-missing "$id"
intact "$generation" || fail node.generation-damaged "$id"
linkable current
linkable previous
links
[ -n "$current" ] || fail node.not-backed-up "$tls_dir/current"

# From here on each store is five words: NEW (its file in the generation), KEPT (its backup, if `current` is one), PATH,
# REAL (where PATH leads) and DRAFT (what will replace it).
left=$#
while [ "$left" -gt 0 ]; do
    real=$2
    if [ "$layout" = in-place ]; then real=$(readlink -f "$2") || real=$2; fi
    set -- "$@" "$generation/$1" "$tls_dir/generations/$current/$1" "$2" "$real" "${real%/*}/.${real##*/}.sealring"
    shift 2
    left=$((left - 2))
done

complete() { # NEW
    [ -f "$1" ] || fail node.generation-incomplete "${1##*/}"
}
alike_or() { # CODE DETAIL: the next two digests are the same
    next
    first=$digest
    next
    [ "$first" = "$digest" ] || fail "$1" "$2"
}
unchanged() { # NEW KEPT PATH
    alike_or node.drifted "$3"
}
arrived() { # NEW MODEL DRAFT
    alike_or node.transfer-damaged "${1##*/}"
}
prepare() { # NEW KEPT PATH REAL DRAFT...
    some x-x-- digests "$@"
    left=$#
    while [ "$left" -gt 0 ]; do
        next
        new=$digest
        next
        if [ "$new" != "$digest" ]; then
            changed=yes
            cat "$1" >"$5"
            if [ -f "$4" ]; then model=$4; else model=$1; fi
            like "$model" "$5"
            set -- "$@" "$1" "$model" "$5"
        fi
        shift 5
        left=$((left - 5))
    done
    if [ $# -eq 0 ]; then return 0; fi
    some --x touch "$@" # a fresh mtime, for Cassandra before 4.1.4 reloads by mtime
    some -xx alike "$@"
    some --x sync "$@"
    some x-x digests "$@"
    each 3 arrived "$@"
}
replace() { # NEW KEPT PATH REAL DRAFT
    if [ -f "$5" ]; then
        mv -T -f "$5" "$4"
        sync "${4%/*}"
    fi
}

changed=no
each 5 complete "$@"
if [ -z "$intent" ]; then # a rollback would bring back something else than what is there now
    some -xx-- digests "$@"
    each 5 unchanged "$@"
fi
if [ "$layout" = in-place ]; then some ----x drop "$@"; fi
write_intent "$step" "$id"
if [ "$layout" = in-place ]; then
    prepare "$@"
    each 5 replace "$@"
fi
# Back where this rollout began, the link is what it was then.
if [ "$id" = "$from" ]; then wanted=$before; else wanted=$from; fi
if [ "$previous" != "$wanted" ]; then
    if [ -n "$wanted" ]; then relink previous "$wanted"; else rm -f "$tls_dir/previous"; fi
fi
if [ "$current" != "$id" ]; then
    changed=yes
    # An older generation has an older mtime, which Cassandra before 4.1.4 takes for no change.
    if [ "$layout" = slots ]; then some x---- touch "$@"; fi
    relink current "$id"
fi
drop "$tls_dir/.current.sealring" "$tls_dir/.previous.sealring"
some x-x-- digests "$@"
each 5 unchanged "$@"
printf 'changed=%s\nprevious=%s\n' "$changed" "$wanted"
