# Files to stdout, at most LIMIT bytes of each, and behind each the mark on a line. Arguments: their paths.
# The kind of failure goes to stderr in one word; it is the failure of the file behind the last mark.
refuse() { # WORD
    printf '%s\n' "$1" >&2
    exit 4
}
for path; do
    [ -e "$path" ] || refuse missing
    [ -f "$path" ] || refuse not-a-file
    [ -r "$path" ] || refuse unreadable
    head -c "$limit" "$path"
    printf '%s\n' "$mark"
done
