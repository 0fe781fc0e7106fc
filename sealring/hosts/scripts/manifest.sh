# One generation's manifest.
file="$tls_dir/generations/$id/manifest.json"
[ -r "$file" ] || fail node.generation-missing "$id"
printf 'manifest=%s\n' "$(encoded "$file")"
