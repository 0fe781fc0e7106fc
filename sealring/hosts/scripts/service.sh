# Restart a unit; sudo only when systemd refuses this user.
command -v systemctl >/dev/null 2>&1 || fail node.tool-missing systemctl
try() { # COMMAND...
    said=$("$@" --no-ask-password restart "$unit" 2>&1) && status=0 || status=$?
    said=$(printf '%s' "$said" | tr '\n' ' ')
    [ "$status" = 0 ]
}
if try systemctl; then exit 0; fi
case $said in
*"ccess denied"* | *"uthentication"* | *"ermission denied"*)
    if [ "$sudo" = auto ] && command -v sudo >/dev/null 2>&1; then
        if try sudo -n systemctl; then exit 0; fi
    fi
    ;;
esac
case $said in
*"ccess denied"* | *"uthentication"* | *"ermission denied"* | sudo:*) fail node.service-refused "$said" ;;
*"not found"* | *"not loaded"* | *"could not be found"*) fail node.service-missing "$said" ;;
*) fail node.service-failed "$said" ;;
esac
