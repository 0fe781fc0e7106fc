# Show keystores without their keys: certificates, and the public half of the key. Arguments: PATH FORMAT for each; the
# passwords follow on stdin, a line each, in this order. A store that does not open shows nothing. Changes nothing.
needs openssl
for path in "$@"; do
    case $path in
    /*)
        [ -e "$path" ] || fail node.file-missing "$path"
        [ -f "$path" ] || fail node.not-a-file "$path"
        [ -r "$path" ] || fail node.file-unreadable "$path"
        ;;
    esac
done
opened() { # PATH OPTION...: what openssl says about a PKCS#12 store
    printf '%s\n' "$password" | openssl pkcs12 -in "$@" -passin stdin 2>/dev/null
}
shown() { # PATH FORMAT: a key goes from one openssl to the other
    case $2 in
    PEM)
        printf '%s\n' "$password" | openssl pkey -in "$1" -passin stdin -pubout 2>/dev/null || return 0
        sed -n '/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p' "$1"
        ;;
    *)
        legacy= # the ciphers of old stores, which OpenSSL 3 keeps apart
        if ! certificates=$(opened "$1" -nokeys); then
            legacy=-legacy
            certificates=$(opened "$1" -legacy -nokeys) || return 0
        fi
        opened "$1" $legacy -nocerts -nodes | openssl pkey -pubout 2>/dev/null || return 0
        printf '%s\n' "$certificates"
        ;;
    esac
}
show() { # PATH FORMAT
    IFS= read -r password
    printf 'view=%s %s %s\n' "$(digest "$1")" "$(wc -c <"$1")" "$(shown "$1" "$2" | base64 -w 0)"
}
printf '#ready\n'
each 2 show "$@"
