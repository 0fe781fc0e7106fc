# Write down a step before it is done. A step that is written down already keeps its note: the step was begun then.
lock
guard
if [ -z "$intent" ] || [ "$(intent_field step)" != "$step" ]; then
    write_intent "$step" "" "$note"
fi
printf 'intent=%s\n' "$(base64 -w 0 "$state_dir/intent.json")"
