# What sudo would let this login user do as root, in sudo's own words (`-ll`: one command a line, with its options).
command -v sudo >/dev/null 2>&1 || fail node.tool-missing sudo
listing=$(sudo -n -ll 2>/dev/null || :)
printf 'listing=%s\n' "$(printf '%s' "$listing" | base64 -w 0)"
