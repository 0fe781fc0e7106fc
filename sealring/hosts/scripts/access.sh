# Whether this user may replace the stores and keep what they are. Arguments: the paths of the store files.
# One line for each obstacle; none: this user suits. Changes nothing.
me=$(id -u)
groups=
if [ "$me" != 0 ]; then groups=" $(id -G) "; fi

obstacle() {
    printf 'obstacle=%s\n' "$1"
}
writable() { # FOLDER: or, when it is absent or hidden, the nearest one above
    folder=$1
    while [ ! -e "$folder" ]; do
        folder=${folder%/*}
        folder=${folder:-/}
    done
    if [ ! -d "$folder" ] || [ ! -w "$folder" ] || [ ! -x "$folder" ]; then obstacle "may not write to $folder"; fi
}
writable "$tls_dir"
writable "$tls_dir/generations"
writable "$state_dir"
if [ -e "$state_dir/lock" ] && [ ! -w "$state_dir/lock" ]; then obstacle "may not write to $state_dir/lock"; fi
# With slots the service reads our folders; a user may be known by number only.
if [ "$layout" = slots ] && [ "$me" != 0 ] && [ "$service_user" != "$me" ] && [ "$service_user" != "$(id -un)" ]; then
    obstacle "cannot make folders that $service_user may enter"
fi
for path in "$@"; do
    real=$(readlink -f "$path" || :)
    if [ "$layout" = in-place ]; then writable "${real%/*}"; fi
    if [ ! -r "$real" ]; then
        obstacle "may not read $path"
    elif [ "$me" != 0 ]; then
        owner=$(stat -c '%u %g' "$real")
        if [ "${owner% *}" != "$me" ]; then obstacle "cannot keep the owner of $path"; fi
        case $groups in
        *" ${owner#* } "*) ;;
        *) obstacle "cannot keep the group of $path" ;;
        esac
    fi
done
