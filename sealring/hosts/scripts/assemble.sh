# Make keystores of the key that lies here and the certificates that were sent. Arguments: NAME FORMAT for each; the
# passwords follow on stdin, a line each, in this order. stage.sh finds the files below `stores` by their digests.
lock
needs openssl
folder=
for made in "$state_dir"/issue/*; do
    if [ -f "$made/public" ] && [ "$(cat "$made/public")" = "$public" ]; then folder=$made; fi
done
[ -n "$folder" ] || fail node.key-missing "$state_dir/issue"
rm -rf "$folder/stores" "$folder/.stores"
mkdir "$folder/.stores"
printf '%s' "$certificate" >"$folder/.chain"
try openssl pkey -in "$folder/key.pem" -pubout -outform DER -out "$folder/.public"
[ "$(digest "$folder/.public")" = "$public" ] && [ "$(public_of "$folder/.chain")" = "$public" ] \
    || fail node.key-differs "$folder"
printf '#ready\n'
store() { # NAME FORMAT: the password comes on stdin and goes on by a pipe; `printf` is the shell's own, no process
    IFS= read -r password
    case $2 in
    PEM) cat "$folder/key.pem" "$folder/.chain" >"$folder/.stores/$1" ;;
    *)
        printf '%s\n' "$password" | try openssl pkcs12 -export -name cassandra -inkey "$folder/key.pem" \
            -in "$folder/.chain" -keypbe AES-256-CBC -certpbe AES-256-CBC -macalg sha256 -passout stdin \
            -out "$folder/.stores/$1"
        ;;
    esac
    printf 'store=%s %s %s\n' "$(digest "$folder/.stores/$1")" "$(wc -c <"$folder/.stores/$1")" "$1"
}
each 2 store "$@"
sync "$folder/.stores"/*
printf '%s\n' "$id" >"$folder/generation"
mv -T "$folder/.stores" "$folder/stores"
rm -f "$folder/.chain" "$folder/.public"
sync "$folder"
