# Write a generation beside those that are there. Arguments: NAME MODE PATH SIZE SHA256 CHUNKS for each file; CHUNKS are
# the digests of its pieces of $chunk bytes. `have=NAME BYTES` says what this disk has of a file already; the rest of
# each follows on stdin, in this order, once `#ready` was said. Nothing that is in force is touched.
lock
guard
if [ "$anew" = no ] && intact "$tls_dir/generations/$id" && named "$tls_dir/generations/$id"; then
    printf 'skipped=yes\n'
    exit 0
fi

files() { # FUNCTION NAME MODE PATH SIZE SHA256 CHUNKS ...
    call=$1
    shift
    while [ $# -gt 0 ]; do
        "$call" "$1" "$2" "$3" "$4" "$5" "$6"
        shift 6
    done
}

size() { # FILE
    wc -c <"$1"
}

elsewhere() { # NAME SHA256: a file with this content that was assembled here, or that another generation has
    for other in "$state_dir"/issue/*/stores/"$1"; do
        if [ -f "$other" ] && [ "$(digest "$other")" = "$2" ]; then
            printf '%s' "$other"
            return 0
        fi
    done
    case $known in
    *"$2  $1"*) ;;
    *) return 0 ;;
    esac
    for other in "$generations"/*/"$1"; do
        if [ -f "$other" ] && [ "$(digest "$other")" = "$2" ]; then
            printf '%s' "$other"
            return 0
        fi
    done
}

sound() { # FILE CHUNKS: how many of its bytes, from the first on, are those that would be sent
    [ -f "$1" ] || { echo 0; return 0; }
    right=0
    for piece in $2; do
        [ "$(dd if="$1" bs="$chunk" skip="$right" count=1 2>/dev/null | sha256sum | cut -d ' ' -f 1)" = "$piece" ] || break
        right=$((right + 1))
    done
    bytes=$(size "$1")
    if [ $((right * chunk)) -lt "$bytes" ]; then bytes=$((right * chunk)); fi
    echo "$bytes"
}

begin() {
    bytes=$4
    origin=$(elsewhere "$1" "$5")
    if [ -z "$origin" ]; then
        origin="$partial/$1"
        bytes=$(sound "$origin" "$6")
    fi
    : >"$incoming/$1" # 0600 by umask until it gets its own mode
    if [ "$bytes" -gt 0 ]; then
        head -c "$bytes" "$origin" >"$incoming/$1"
        printf 'have=%s %s\n' "$1" "$bytes"
    fi
}

fill() {
    missing=$(($4 - $(size "$incoming/$1")))
    # The mode is set while the rest is not there; the open descriptor writes whatever the mode.
    exec 8>>"$incoming/$1"
    chmod "$2" "$incoming/$1"
    if [ "$missing" -gt 0 ]; then head -c "$missing" >&8; fi
    exec 8>&-
    # With slots the service reads this very file: it gets the attributes of the one in force.
    if [ -f "$3" ]; then like "$(readlink -f "$3")" "$incoming/$1"; else own "$incoming/$1"; fi
}

# What was cut off stays for the next try when that saves a piece or more; not when the disk refused it.
leave() {
    if [ $? -eq 3 ]; then
        for file in "$incoming"/*; do
            if [ -f "$file" ] && [ "$(size "$file")" -ge "$chunk" ]; then return 0; fi
        done
    fi
    rm -rf "$incoming"
}

partial="$tls_dir/generations/.partial-$id"
if [ -d "$tls_dir/generations/.incoming-$id" ]; then
    rm -rf "$partial"
    mv -T "$tls_dir/generations/.incoming-$id" "$partial"
fi
open_incoming
trap leave EXIT
known=$(cat "$generations"/*/SHA256SUMS 2>/dev/null || :)
files begin "$@"
rm -rf "$generations"/.partial-*
printf '#ready\n'
files fill "$@"
close_incoming node.transfer-damaged
printf 'skipped=no\n'
