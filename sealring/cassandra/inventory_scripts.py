"""What the inventory runs on a host. Each prints key=value lines, except CONFIG, which prints the file."""

# Of a service that does not run: what it would be started with, where the unit itself says so.
UNIT = r"""systemctl cat "$unit" 2>/dev/null | sed -n 's/^ExecStart=[-@:+!]*//p' | tr ' ' '\n' | sed 's/^/arg=/' """

PROCESS = (
    r"""
printf 'boot=%s\nhertz=%s\n' "$(sed -n 's/^btime //p' /proc/stat)" "$(getconf CLK_TCK)"
arguments=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | sed 's/^/arg=/')
if [ -n "$arguments" ]; then printf '%s\n' "$arguments"; exit 0; fi
# It ended since it was seen, as in a crash loop.
"""
    + UNIT
)

# The first candidate that exists is the one; a file that may not be read is not skipped.
CONFIG = r"""
for path; do
  [ -e "$path" ] || continue
  printf '%s\n' "$path"
  [ -f "$path" ] || exit 5
  [ -r "$path" ] || exit 3
  stat -L -c '%Y %s %i %z' "$path"
  head -c "$limit" "$path"
  exit 0
done
exit 4
"""

# Of the configuration that is known: whether it is still the same. No line when it may not be looked at.
MARK = r"""stat -L -c 'mark=%Y %s %i %z' "$config" 2>/dev/null || true"""

# Relative paths count from the process's directory (java.io.File), which only its user may ask for. Processes would be
# most of what a look costs: the shell cuts paths itself, and a running process has an owner to go by already.
DISK = r"""
base=
bytes() { head=$1$2$3$4; }
owner=
for path; do
  case $path in
    /*) full=$path ;;
    *)
      if [ -z "$base" ]; then base=$(readlink "/proc/$process/cwd" 2>/dev/null) || base=$home; fi
      full=$base/$path
      ;;
  esac
  printf 'path=%s\n' "$full"
  head=
  # A named pipe would be waited for. What may not be read has no head: reading it later says why.
  if [ -f "$full" ]; then bytes $(od -An -v -tx1 -N4 "$full" 2>/dev/null || true) '' '' '' ''; fi
  printf 'head=%s\n' "$head"
  [ -e "$full" ] || printf 'missing=%s\n' "$full"
  live=
  at=$full
  while [ "${at%/*}" != "$at" ]; do
    at=${at%/*}
    if [ "${at##*/}" = "$link" ] && [ -L "$at" ]; then live=${at%/*}/; fi
  done
  while case $live in ?*/) ;; *) false ;; esac; do live=${live%/}; done
  printf 'live=%s\n' "$live"
  if [ "$process" = 0 ] && [ -z "$owner" ] && [ -e "$full" ]; then
    owner=$(stat -L -c '%U %G' "$full" 2>/dev/null || true)
  fi
done
printf 'owner=%s\n' "$owner"
"""
