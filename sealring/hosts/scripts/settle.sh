# The rollout is done with this node: its intent becomes the record of the last change, then the generations that are
# too many go, oldest first.
lock
guard
drop "$state_dir/.intent.sealring"
if [ -e "$state_dir/intent.json" ]; then mv -T -f "$state_dir/intent.json" "$state_dir/last.json"; fi
sync "$state_dir"
links
# A key that was made here and is in force lies in its generation now.
for made in "$state_dir"/issue/*; do
    if [ -f "$made/generation" ] && [ "$(cat "$made/generation")" = "$current" ]; then
        rm -rf "$state_dir/issue/.gone"
        mv -T "$made" "$state_dir/issue/.gone"
    fi
done
if [ -d "$state_dir/issue" ]; then
    rm -rf "$state_dir/issue/.gone" "$state_dir/issue/.new"
    rmdir "$state_dir/issue" 2>/dev/null || :
fi
kept=0
if [ -d "$tls_dir/generations" ]; then
    cd "$tls_dir/generations"
    for id in $current $previous; do kept=$((kept + 1)); done
    for id in $(ls -t); do
        if ! is_id "$id" || [ "$id" = "$current" ] || [ "$id" = "$previous" ]; then continue; fi
        kept=$((kept + 1))
        if [ "$kept" -gt "$keep" ]; then
            mv -T "$id" ".discard-$id"
            printf 'removed=%s\n' "$id"
        fi
    done
    drop .incoming-* .partial-* .discard-*
fi
