# One file to stdout, at most LIMIT bytes. The kind of failure goes to stderr in one word.
[ -e "$path" ] || { echo missing >&2; exit 4; }
[ -f "$path" ] || { echo not-a-file >&2; exit 4; }
[ -r "$path" ] || { echo unreadable >&2; exit 4; }
exec head -c "$limit" "$path"
