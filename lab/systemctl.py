"""What `systemctl` prints and answers for a node's service: a faithful subset, in systemd 252's words."""

import getopt
import os
import pwd
import signal
from datetime import datetime

from lab.service_client import Answer
from lab.supervisor import Service

UNIT = "cassandra.service"

_SHORT = "p:s:qln:"
_LONG = [
    "property=",
    "value",
    "no-pager",
    "no-block",
    "quiet",
    "full",
    "signal=",
    "kill-whom=",
    "kill-who=",
    "system",
    "no-ask-password",
    "version",
    "lines=",
]


async def run(service: Service, arguments: list[str]) -> Answer:
    """Do what `systemctl <arguments>` asks and say what it would say."""
    try:
        options, words = getopt.gnu_getopt(arguments, _SHORT, _LONG)
    except getopt.GetoptError as e:
        return Answer(1, "", f"systemctl: {e}\n")
    chosen = dict(options)
    if "--version" in chosen:
        return Answer(0, "systemd 252 (lab)\n", "")
    verb, *units = words or ["status", UNIT]
    if verb in ("daemon-reload", "reset-failed"):
        return Answer(0, "", "")
    if verb == "show":
        wanted = [name for flag, value in options if flag in ("-p", "--property") for name in value.split(",")]
        return Answer(0, "\n".join(_show(service, _full(u), wanted, "--value" in chosen) for u in units or [UNIT]), "")
    if not units:
        return Answer(1, "", "Too few arguments.\n")
    unit = _full(units[0])
    known = unit == UNIT
    match verb:
        case "is-active":
            word = service.state.active if known else "inactive"
            quiet = "-q" in chosen or "--quiet" in chosen
            return Answer(0 if word == "active" else 3, "" if quiet else f"{word}\n", "")
        case "is-failed":
            word = service.state.active if known else "inactive"
            return Answer(0 if word == "failed" else 1, f"{word}\n", "")
        case "is-enabled":
            if known:
                return Answer(0, "enabled\n", "")
            return Answer(1, "", f"Failed to get unit file state for {unit}: No such file or directory\n")
        case "cat":
            if known:
                return Answer(0, unit_file(service), "")
            return Answer(1, "", f"No files found for {unit}.\n")
        case "status":
            return _status(service) if known else Answer(4, "", f"Unit {unit} could not be found.\n")
        case "start" | "stop" | "restart" | "kill" if not known:
            word = "loaded" if verb in ("stop", "kill") else "found"
            return Answer(5, "", f"Failed to {verb} {unit}: Unit {unit} not {word}.\n")
        case "start":
            await service.start()
        case "stop":
            await service.stop()
        case "restart":
            await service.restart()
        case "kill":
            return _kill(service, chosen.get("-s") or chosen.get("--signal") or "SIGTERM")
        case _:
            return Answer(1, "", f"Unknown command verb {verb}.\n")
    return Answer(0, "", "")


def unit_file(service: Service) -> str:
    """The unit as a file, for `systemctl cat`."""
    unit = service.unit
    return (
        f"# {service.home / 'unit.json'}\n[Unit]\nDescription=Apache Cassandra\n\n[Service]\nType=simple\n"
        f"ExecStart={' '.join(unit.argv)}\nWorkingDirectory={unit.directory}\nRestart=always\n"
        f"RestartSec={unit.restart_s:g}\nTimeoutStopSec={unit.stop_timeout_s:g}\nSuccessExitStatus=143\n"
        f"StandardOutput=append:{unit.log}\nUser={_user()}\n"
    )


def _full(unit: str) -> str:
    return unit if unit.endswith(".service") else f"{unit}.service"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _kill(service: Service, name: str) -> Answer:
    name = name.upper()
    try:
        number = (
            signal.Signals(int(name)) if name.isdigit() else signal.Signals[name if name[:3] == "SIG" else f"SIG{name}"]
        )
    except (KeyError, ValueError):
        return Answer(1, "", f"Failed to parse signal string {name}.\n")
    if service.kill(number):
        return Answer(0, "", "")
    return Answer(1, "", f"Failed to kill unit {UNIT}: No main process to kill\n")


def _time(moment: tuple[float, int]) -> str:
    return datetime.fromtimestamp(moment[0]).astimezone().strftime("%a %Y-%m-%d %H:%M:%S %Z") if moment[1] else ""


def _properties(service: Service) -> dict[str, str]:
    state, unit = service.state, service.unit
    return {
        "Type": "simple",
        "Restart": "always",
        "RestartUSec": f"{unit.restart_s:g}s",
        "TimeoutStopUSec": f"{unit.stop_timeout_s:g}s",
        "MainPID": str(state.pid),
        "Result": state.result,
        "NRestarts": str(state.restarts),
        "ExecMainStartTimestamp": _time(state.started),
        "ExecMainStartTimestampMonotonic": str(state.started[1]),
        "ExecMainExitTimestamp": "" if state.pid else _time(state.exited),
        "ExecMainExitTimestampMonotonic": "0" if state.pid else str(state.exited[1]),
        "ExecMainPID": str(state.exec_pid),
        "ExecMainCode": "0" if state.pid else str(state.exit_code),
        "ExecMainStatus": "0" if state.pid else str(state.exit_status),
        "WorkingDirectory": unit.directory,
        "User": _user(),
        "Id": UNIT,
        "Names": UNIT,
        "Description": "Apache Cassandra",
        "LoadState": "loaded",
        "ActiveState": state.active,
        "SubState": state.sub,
        "FragmentPath": str(service.home / "unit.json"),
        "UnitFileState": "enabled",
        "StateChangeTimestamp": _time(state.changed),
        "StateChangeTimestampMonotonic": str(state.changed[1]),
        "ActiveEnterTimestamp": _time(state.started),
        "ActiveEnterTimestampMonotonic": str(state.started[1]),
    }


def _show(service: Service, unit: str, wanted: list[str], values_only: bool) -> str:
    absent = {"MainPID": "0", "Id": unit, "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"}
    properties = _properties(service) if unit == UNIT else absent
    names = [name for name in properties if name in wanted or not wanted]
    return "".join(f"{properties[n]}\n" if values_only else f"{n}={properties[n]}\n" for n in names)


def _status(service: Service) -> Answer:
    state = service.state
    lines = [
        f"● {UNIT} - Apache Cassandra",
        f"     Loaded: loaded ({service.home / 'unit.json'}; enabled)",
        f"     Active: {state.active} ({state.sub}) since {_time(state.changed)}",
        *([f"   Main PID: {state.pid} (java)"] if state.pid else []),
    ]
    return Answer(0 if state.active == "active" else 3, "\n".join(lines) + "\n", "")
