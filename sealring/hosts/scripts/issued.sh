# Put what was issued beside the key that it was issued for. The certificate comes last: where it is, all of it is.
lock
needs openssl
folder="$state_dir/issue/$request"
[ -e "$folder/public" ] || fail node.key-missing "$folder"
printf '%s' "$trust" >"$folder/.ca.crt"
printf '%s' "$certificate" >"$folder/.tls.crt"
[ "$(public_of "$folder/.tls.crt")" = "$(cat "$folder/public")" ] || fail node.key-differs "$folder"
sync "$folder/.ca.crt" "$folder/.tls.crt"
mv -T -f "$folder/.ca.crt" "$folder/ca.crt"
mv -T -f "$folder/.tls.crt" "$folder/tls.crt"
sync "$folder"
