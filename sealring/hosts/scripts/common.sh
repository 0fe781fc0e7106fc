# Shared by every script; put in front of it. Expects tls_dir, state_dir, rollout where a function uses them.
# What a script finds goes to stdout as key=value lines; `error=CODE DETAIL` and exit 3 is a refusal.

fail() { # CODE DETAIL
    printf 'error=%s %s\n' "$1" "$2"
    exit 3
}

needs() { # TOOL
    command -v "$1" >/dev/null 2>&1 || fail node.tool-missing "$1"
}

try() { # COMMAND...: one that says nothing when it is well; else its last words
    said=$("$@" 2>&1) || fail node.openssl-failed "$(printf '%s' "$said" | tail -n 1)"
}

public_of() { # FILE: the digest of the public key in its first certificate
    openssl x509 -in "$1" -noout -pubkey 2>/dev/null | openssl pkey -pubin -outform DER 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

each() { # FUNCTION NAME PATH [NAME PATH]...
    call=$1
    shift
    while [ $# -gt 0 ]; do
        "$call" "$1" "$2"
        shift 2
    done
}

# One script at a time on a node. The kernel drops the lock when the last process that holds it is gone,
# so a killed script leaves none behind, and a child that outlives it (an `mv`) still counts.
lock() {
    needs flock
    [ -d "$state_dir" ] || mkdir -p "$state_dir"
    exec 9>>"$state_dir/lock"
    flock -w "$lock_wait" 9 || fail node.locked "$state_dir/lock"
}

encoded() { # FILE of ours, in base64 on one line; what is too big for one is cut, and then reads as damaged
    if [ -f "$1" ]; then head -c 1048576 "$1" | base64 -w 0; fi
}

intent_field() { # NAME
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$state_dir/intent.json"
}

is_word() { # TEXT: one word that we may have written there, or nothing
    case $1 in
    *[!A-Za-z0-9_.:/-]*) return 1 ;;
    esac
}

# Refuse when another rollout's intent is on the node; sets `intent` to ours or to nothing.
guard() {
    intent=
    if [ -e "$state_dir/intent.json" ]; then
        [ -f "$state_dir/intent.json" ] || fail node.state-damaged "$state_dir/intent.json"
        intent=$(intent_field rollout)
        [ -n "$intent" ] || fail node.state-damaged "$state_dir/intent.json"
        is_word "$intent" && is_word "$(intent_field from)" && is_word "$(intent_field previous)" \
            || fail node.state-damaged "$state_dir/intent.json"
        [ "$intent" = "$rollout" ] || fail node.busy "$intent"
    fi
}

# `from` and `previous` are what the links said before this rollout touched the node; a continued intent keeps them.
write_intent() { # STEP TO
    if [ -n "$intent" ]; then
        from=$(intent_field from)
        before=$(intent_field previous)
    else
        from=$(linked current)
        before=$(linked previous)
    fi
    draft="$state_dir/.intent.sealring"
    rm -f "$draft"
    printf '{"rollout":"%s","step":"%s","to":"%s","from":"%s","previous":"%s"}\n' \
        "$rollout" "$1" "$2" "$from" "$before" >"$draft"
    sync "$draft"
    mv -T -f "$draft" "$state_dir/intent.json"
    sync "$state_dir"
    intent=$rollout
}

is_id() { # TEXT: 64 hexadecimal digits
    case $1 in
    *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} -eq 64 ]
}

linked() { # current|previous: the generation it points to, or nothing
    target=$(readlink "$tls_dir/$1" || :)
    name=${target#generations/}
    if [ "$target" = "generations/$name" ] && is_id "$name"; then
        printf '%s' "$name"
    fi
}

linkable() { # current|previous: something that is no link stands where our link belongs
    if [ -e "$tls_dir/$1" ] && [ ! -L "$tls_dir/$1" ]; then
        fail node.layout-unsupported "$tls_dir/$1"
    fi
}

relink() { # current|previous ID: one rename(2)
    rm -f "$tls_dir/.$1.sealring"
    ln -s "generations/$2" "$tls_dir/.$1.sealring"
    mv -T -f "$tls_dir/.$1.sealring" "$tls_dir/$1"
    sync "$tls_dir"
}

digest() { # FILE: what is no file is like nothing else, and is not waited for
    if [ -f "$1" ]; then sha256sum <"$1" | cut -d ' ' -f 1; else printf 'none:%s' "$1"; fi
}

# The sums cover every file of a generation, its manifest included.
intact() { # FOLDER
    (cd "$1" && sha256sum -c --strict --quiet SHA256SUMS) >/dev/null 2>&1
}

# Whether a folder has a file of each name that `sums` has, whatever is in it.
named() { # FOLDER
    printf '%s' "$sums" | while read -r _ file; do
        [ -f "$1/$file" ] || exit 1
    done
}

attributes() { # FILE: everything that must survive its replacement
    stat -c '%u:%g:%a' "$1"
    stat -c '%C' "$1" 2>/dev/null || :
    if command -v getfacl >/dev/null 2>&1; then getfacl -c -p -n "$1" 2>/dev/null || :; fi
    if command -v getfattr >/dev/null 2>&1; then getfattr -d -m '^user\.' --absolute-names "$1" 2>/dev/null | sed 1d; fi
}

# Owner, mode, ACL, extended attributes and SELinux label of REFERENCE; a fresh mtime, for Cassandra before 4.1.4
# reloads by mtime.
like() { # REFERENCE FILE
    cp --attributes-only --preserve=all -- "$1" "$2"
    touch -- "$2"
    alike "$1" "$2"
}

alike() { # REFERENCE FILE
    [ "$(attributes "$1")" = "$(attributes "$2")" ] || fail node.attributes "$1"
}

own() { # FILE...: root gives to the service; another user already is the owner
    if [ "$(id -u)" = 0 ]; then chown "$owner" "$@"; fi
}

# An empty folder for a new generation. What interrupted tries left goes first: we hold the lock.
open_incoming() {
    generations="$tls_dir/generations"
    incoming="$generations/.incoming-$id"
    if [ ! -d "$generations" ]; then
        mkdir -p -m 0700 "$generations"
    fi
    own "$generations"
    rm -rf "$generations"/.incoming-* "$generations"/.discard-*
    trap 'rm -rf "$incoming"' EXIT
    mkdir -m 0700 "$incoming"
}

# Check what was written, after it is on the disk, and give the folder its name. A damaged generation is mended
# file by file: with slots it may be in force.
close_incoming() { # CODE: the refusal when the digests differ
    printf '%s' "$manifest" >"$incoming/manifest.json"
    printf '%s%s  manifest.json\n' "$sums" "$(digest "$incoming/manifest.json")" >"$incoming/SHA256SUMS"
    sync "$incoming"/*
    intact "$incoming" || fail "$1" "$id"
    own "$incoming" "$incoming/manifest.json" "$incoming/SHA256SUMS"
    sync "$incoming"
    if [ -d "$generations/$id" ]; then
        for file in "$incoming"/*; do
            mv -T -f "$file" "$generations/$id/${file##*/}"
        done
        sync "$generations/$id"
    else
        mv -T "$incoming" "$generations/$id"
    fi
    sync "$generations"
}
