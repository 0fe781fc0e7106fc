# A key that never leaves this node, and the request for its certificate. Made once: asked again, it shows what is there.
# $names: what the certificate is to be for, as openssl writes it (IP:10.0.0.1,DNS:db.example.com); $common: one, or none.
lock
issue="$state_dir/issue"
folder="$issue/$request"
if [ ! -e "$folder" ]; then
    needs openssl
    draft="$issue/.new"
    rm -rf "$draft"
    mkdir -p "$draft" # 0700 by umask, and 0600 what is in it
    printf '[req]\ndistinguished_name=subject\nreq_extensions=wanted\n[subject]\n[wanted]\nsubjectAltName=%s\n' "$names" \
        >"$draft/openssl.cnf"
    case $kind in
    ec-p256) set -- EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve ;;
    rsa-3072) set -- RSA -pkeyopt rsa_keygen_bits:3072 ;;
    esac
    try openssl genpkey -algorithm "$@" -out "$draft/key.pem"
    try openssl req -new -sha256 -config "$draft/openssl.cnf" -subj "/${common:+CN=$common}" -key "$draft/key.pem" \
        -out "$draft/request.pem"
    try openssl pkey -in "$draft/key.pem" -pubout -outform DER -out "$draft/public.der"
    digest "$draft/public.der" >"$draft/public"
    sync "$draft"/*
    mv -T "$draft" "$folder"
    sync "$issue"
fi
printf 'request=%s\n' "$(encoded "$folder/request.pem")"
if [ -e "$folder/tls.crt" ]; then
    printf 'certificate=%s\n' "$(encoded "$folder/tls.crt")"
    printf 'trust=%s\n' "$(encoded "$folder/ca.crt")"
fi
