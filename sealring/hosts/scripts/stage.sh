# Write a generation beside those that are there. Arguments: NAME MODE PATH SIZE SHA256 CHUNKS for each file; CHUNKS are
# the digests of its pieces of $chunk bytes. `have=NAME BYTES` says what this disk has of a file already; the rest of
# each follows on stdin, in this order, once `#ready` was said. Nothing that is in force is touched.
lock
guard
if [ "$anew" = no ] && intact "$tls_dir/generations/$id" && named "$tls_dir/generations/$id"; then
    printf 'skipped=yes\n'
    exit 0
fi

size() { # FILE
    wc -c <"$1"
}

elsewhere() { # NAME SHA256: sets `origin` to a file with this content that was assembled here, or that another
    # generation has
    origin=
    found "$2" "$state_dir"/issue/*/stores/"$1"
    case $known in
    *"$2  $1"*) if [ -z "$origin" ]; then found "$2" "$generations"/*/"$1"; fi ;;
    esac
}

found() { # SHA256 FILE...: sets `origin` to the first with this digest
    wanted=$1
    shift
    digests "$@"
    for file; do
        next
        if [ "$digest" = "$wanted" ]; then
            origin=$file
            return 0
        fi
    done
}

sound() { # FILE CHUNKS: sets `bytes`: how many, from the first on, are those that would be sent
    bytes=0
    if [ ! -f "$1" ]; then return 0; fi
    right=0
    for piece in $2; do
        said=$(dd if="$1" bs="$chunk" skip="$right" count=1 2>/dev/null | sha256sum)
        [ "${said%% *}" = "$piece" ] || break
        right=$((right + 1))
    done
    bytes=$(size "$1")
    if [ $((right * chunk)) -lt "$bytes" ]; then bytes=$((right * chunk)); fi
}

have=
begin() { # NAME MODE PATH SIZE SHA256 CHUNKS
    bytes=$4
    elsewhere "$1" "$5"
    if [ -z "$origin" ]; then
        origin="$partial/$1"
        sound "$origin" "$6"
    fi
    : >"$incoming/$1" # 0600 by umask until it gets its own mode
    if [ "$bytes" -gt 0 ]; then
        head -c "$bytes" "$origin" >"$incoming/$1"
        printf 'have=%s %s\n' "$1" "$bytes"
    fi
    have="$have $bytes"
}

fill() { # NAME MODE PATH SIZE SHA256 CHUNKS...
    left=$#
    while [ "$left" -gt 0 ]; do
        have=${have# }
        missing=$(($4 - ${have%% *}))
        have=${have#"${have%% *}"}
        # The mode is set while the rest is not there; the open descriptor writes whatever the mode.
        exec 8>>"$incoming/$1"
        chmod "$2" "$incoming/$1"
        if [ "$missing" -gt 0 ]; then head -c "$missing" >&8; fi
        exec 8>&-
        # With slots the service reads this very file: it gets the attributes of the one in force.
        if [ -f "$3" ]; then
            real=$(readlink -f "$3")
            like "$real" "$incoming/$1"
            set -- "$@" "$real" "$incoming/$1"
        else
            own "$incoming/$1"
        fi
        shift 6
        left=$((left - 6))
    done
    if [ $# -gt 0 ]; then
        some -x touch "$@" # a fresh mtime, for Cassandra before 4.1.4 reloads by mtime
        alike "$@"
    fi
}

# What was cut off stays for the next try when that saves a piece or more; not when the disk refused it.
leave() {
    if [ $? -eq 3 ]; then
        for file in "$incoming"/*; do
            if [ -f "$file" ] && [ "$(size "$file")" -ge "$chunk" ]; then return 0; fi
        done
    fi
    drop "$incoming"
}

partial="$tls_dir/generations/.partial-$id"
if [ -d "$tls_dir/generations/.incoming-$id" ]; then
    drop "$partial"
    mv -T "$tls_dir/generations/.incoming-$id" "$partial"
fi
open_incoming
trap leave EXIT
known=$(cat "$generations"/*/SHA256SUMS 2>/dev/null || :)
each 6 begin "$@"
drop "$generations"/.partial-*
printf '#ready\n'
fill "$@"
close_incoming node.transfer-damaged
printf 'skipped=no\n'
