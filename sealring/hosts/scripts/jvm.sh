# Let the service's own Java open stores: keytool beside it. Arguments: PATH ROLE ALIAS for each; a path of `-` stands
# for content that comes on stdin. Expects pid, and program: what its command line begins with. On stdin, for each store: its password, and where the path is `-` a
# line of base64. Passwords go from pipe to pipe; drafts lie in memory (/dev/shm) where there is some, and are removed
# however this ends.
printf '#ready\n'
folder=
base=/tmp
if [ -d /dev/shm ] && [ -w /dev/shm ]; then base=/dev/shm; fi
trap '[ -z "$folder" ] || rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM PIPE
if [ "$pid" = 0 ] || ! java=$(readlink "/proc/$pid/exe" 2>/dev/null); then java=$program; fi
printf 'java=%s\n' "$java"
keytool=${java%/*}/keytool
case $java in
*/java) ;;
*) keytool= ;;
esac
if [ ! -x "$keytool" ]; then
    printf 'keytool=missing\n'
    exit 0
fi
# What a killed one left: nothing is that slow.
for old in "$base"/.sealring-preflight.*; do
    if [ -d "$old" ] && [ -O "$old" ]; then find "$old" -maxdepth 0 -mmin +60 -exec rm -rf {} +; fi
done
open_with_java() { # PATH ROLE ALIAS
    IFS= read -r password
    file=$1
    if [ "$1" = - ]; then
        [ -n "$folder" ] || folder=$(mktemp -d "$base/.sealring-preflight.XXXXXX")
        file=$folder/$2
        IFS= read -r content
        printf '%s' "$content" | base64 -d >"$file"
    fi
    # A request for the key's certificate is signed with the key: it must come out with the store's password.
    case $2 in
    keystore*) set -- -certreq -alias "$3" ;;
    *) set -- -list ;;
    esac
    if said=$(printf '%s\n' "$password" | "$keytool" -J-Xmx96m -J-XX:+UseSerialGC -J-XX:TieredStopAtLevel=1 \
        -J-XX:-UsePerfData "$@" -keystore "$file" 2>&1); then
        printf 'store=opened\n'
    else
        printf 'store=%s\n' "$(printf '%s\n' "$said" | sed -n '/rror/{p;q}' | cut -c 1-300)"
    fi
}
each 3 open_with_java "$@"
