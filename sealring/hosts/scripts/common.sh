# Shared by every script; put in front of it. Expects tls_dir, state_dir, rollout where a function uses them.
# What a script finds goes to stdout as key=value lines; `error=CODE DETAIL` and exit 3 is a refusal.
# A process costs a node more than anything else here: the shell takes texts apart itself, one tool looks at all files
# at once, and a function leaves its answer in a variable, for `$(...)` is a process. No here-documents: an older bash
# writes them to /tmp, which may be full.
newline='
'

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

each() { # WIDTH FUNCTION WORD...: call it with the first words that are left, then drop WIDTH of them
    width=$1 call=$2
    shift 2
    while [ $# -gt 0 ]; do
        "$call" "$@"
        shift "$width"
    done
}

some() { # MASK COMMAND WORD...: call it once, with those words of each group whose place in MASK is an x
    mask=$1 call=$2
    shift 2
    left=$#
    while [ "$left" -gt 0 ]; do
        places=$mask
        while [ -n "$places" ]; do
            case $places in x*) set -- "$@" "$1" ;; esac
            shift
            places=${places#?}
            left=$((left - 1))
        done
    done
    "$call" "$@"
}

drop() { # PATH...: remove them; no process when none is there
    for file; do
        if [ -e "$file" ] || [ -L "$file" ]; then
            rm -rf "$@"
            return 0
        fi
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

intent_field() { # NAME: sets `field` to what `text` says of it, or to nothing
    field=
    case $text in
    *"\"$1\":\""*'"'*)
        field=${text##*"\"$1\":\""}
        case $field in
        *'"'*) field=${field%%'"'*} ;;
        *) field= ;;
        esac
        ;;
    esac
}

is_word() { # TEXT: one word that we may have written there, or nothing
    case $1 in
    *[!A-Za-z0-9_.:/-]*) return 1 ;;
    esac
}

# Refuse when another rollout's intent is on the node; sets `intent` to ours or to nothing. A continued intent keeps
# `from` and `before`: what the links said before this rollout touched the node.
guard() {
    intent=
    if [ -e "$state_dir/intent.json" ] || [ -L "$state_dir/intent.json" ]; then
        [ -f "$state_dir/intent.json" ] || fail node.state-damaged "$state_dir/intent.json"
        text= more=
        { IFS= read -r text || :; if IFS= read -r more; then more=yes; fi; } <"$state_dir/intent.json" # blank or not
        intent_field rollout
        intent=$field
        intent_field from
        from=$field
        intent_field previous
        before=$field
        [ -z "$more" ] && [ -n "$intent" ] && is_word "$intent" && is_id_or_nothing "$from" && is_id_or_nothing "$before" \
            || fail node.state-damaged "$state_dir/intent.json"
        [ "$intent" = "$rollout" ] || fail node.busy "$intent"
    fi
}

write_intent() { # STEP TO
    if [ -z "$intent" ]; then
        from=$current
        before=$previous
    fi
    draft="$state_dir/.intent.sealring"
    drop "$draft"
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

is_id_or_nothing() { # TEXT
    [ -z "$1" ] || is_id "$1"
}

links() { # sets `current` and `previous` to the generations that they point to, or to nothing
    linked current
    current=$name
    linked previous
    previous=$name
}

linked() { # current|previous: sets `name`
    name=
    if [ -L "$tls_dir/$1" ]; then
        target=$(readlink "$tls_dir/$1" || :)
        name=${target#generations/}
        if [ "$target" != "generations/$name" ] || ! is_id "$name"; then name=; fi
    fi
}

linkable() { # current|previous: something that is no link stands where our link belongs
    if [ -e "$tls_dir/$1" ] && [ ! -L "$tls_dir/$1" ]; then
        fail node.layout-unsupported "$tls_dir/$1"
    fi
}

relink() { # current|previous ID: one rename(2)
    drop "$tls_dir/.$1.sealring"
    ln -s "generations/$2" "$tls_dir/.$1.sealring"
    mv -T -f "$tls_dir/.$1.sealring" "$tls_dir/$1"
    sync "$tls_dir"
}

nothings=0
digests() { # FILE...: sets `digests`, a word for each; what is no file is like nothing else, and is not waited for
    digests=
    if are_files "$@" && said=$(sha256sum "$@" 2>/dev/null); then
        set -f
        IFS=$newline
        for line in $said; do
            line=${line#\\} # stands before a name that had to be quoted
            digests="$digests ${line%% *}"
        done
        unset IFS
        set +f
    else
        for file; do
            nothings=$((nothings + 1))
            said=none:$nothings
            if [ -f "$file" ]; then said=$(sha256sum <"$file") || said=none:$nothings; fi
            digests="$digests ${said%% *}"
        done
    fi
}

are_files() { # FILE...: one or more
    [ $# -gt 0 ] || return 1
    for file; do
        [ -f "$file" ] || return 1
    done
}

next() { # sets `digest` to the next of `digests`
    digest=${digests#* }
    digest=${digest%% *}
    digests=${digests#" $digest"}
}

digest() { # FILE
    digests "$1"
    printf '%s\n' "${digests# }"
}

# The sums cover every file of a generation, its manifest included.
intact() { # FOLDER
    (cd "$1" && sha256sum -c --strict --quiet SHA256SUMS) >/dev/null 2>&1
}

# Whether a folder has a file of each name that `sums` has, whatever is in it.
named() { # FOLDER
    set -f
    IFS=$newline
    # shellcheck disable=SC2086  # its lines are wanted
    set -- "$1" $sums
    unset IFS
    set +f
    folder=$1
    shift
    for line; do
        [ -f "$folder/${line#*  }" ] || return 1
    done
}

attributes() { # FILE: everything that must survive its replacement
    stat -c '%u:%g:%a:%C' "$1" 2>/dev/null || : # a system without labels answers `?` and is not well
    if command -v getfacl >/dev/null 2>&1; then getfacl -c -p -n "$1" 2>/dev/null || :; fi
    if command -v getfattr >/dev/null 2>&1; then getfattr -d -m '^user\.' --absolute-names "$1" 2>/dev/null | sed 1d; fi
}

# Owner, mode, ACL, extended attributes and SELinux label of REFERENCE.
like() { # REFERENCE FILE
    cp --attributes-only --preserve=all -- "$1" "$2"
}

# Whether all attributes are the same. Most often they are, and three processes say so for all pairs.
alike() { # REFERENCE FILE [REFERENCE FILE]...
    all_alike "$@" || each 2 pair_alike "$@"
}

pair_alike() { # REFERENCE FILE
    [ "$(attributes "$1")" = "$(attributes "$2")" ] || fail node.attributes "$1"
}

all_alike() { # REFERENCE FILE [REFERENCE FILE]...
    twins $# "$(stat -c '%u:%g:%a:%C' "$@" 2>/dev/null || :)" "$newline" || return 1
    if command -v getfacl >/dev/null 2>&1; then
        twins $# "$(getfacl -c -p -n "$@" 2>/dev/null || :)" "$newline$newline" || return 1
    fi
    if command -v getfattr >/dev/null 2>&1; then
        [ -z "$(getfattr -d -m '^user\.' --absolute-names "$@" 2>/dev/null || :)" ] || return 1
    fi
}

twins() { # COUNT TEXT SEPARATOR: whether TEXT has COUNT pieces, the first like the second, the third like the fourth
    left=$1 rest=$2$3
    while [ "$left" -gt 0 ]; do
        piece=${rest%%"$3"*}
        rest=${rest#*"$3"}
        if [ -z "$piece" ] || [ "$piece" != "${rest%%"$3"*}" ]; then return 1; fi
        rest=${rest#*"$3"}
        left=$((left - 2))
    done
    [ -z "$rest" ]
}

me=
own() { # FILE...: root gives to the service; another user already is the owner
    me=${me:-$(id -u)}
    if [ "$me" = 0 ]; then chown "$owner" "$@"; fi
}

# An empty folder for a new generation. What interrupted tries left goes first: we hold the lock.
open_incoming() {
    generations="$tls_dir/generations"
    incoming="$generations/.incoming-$id"
    if [ ! -d "$generations" ]; then
        mkdir -p -m 0700 "$generations"
    fi
    drop "$generations"/.incoming-* "$generations"/.discard-*
    trap 'drop "$incoming"' EXIT
    mkdir -m 0700 "$incoming"
}

# Check what was written, after it is on the disk, and give the folder its name. A damaged generation is mended
# file by file: with slots it may be in force.
close_incoming() { # CODE: the refusal when the digests differ
    printf '%s' "$manifest" >"$incoming/manifest.json"
    printf '%s%s  manifest.json\n' "$sums" "$manifest_sum" >"$incoming/SHA256SUMS"
    sync "$incoming"/*
    intact "$incoming" || fail "$1" "$id"
    own "$generations" "$incoming" "$incoming/manifest.json" "$incoming/SHA256SUMS"
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
