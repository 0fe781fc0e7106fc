"""`sealring keyring`: look at the keys of the payloads, change them, remove old ones. No key is ever printed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sealring.errors import SealringError, refuse
from sealring.settings import load_settings
from sealring.temporal.keyring import SETTING, load_keyring, retire_keyring, rotate_keyring
from starters.exits import tell

T = TypeVar("T")

keyring_app = typer.Typer(no_args_is_help=True, help="Look at and change the keys that encrypt payloads.")

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@keyring_app.command("show")
def show(as_json: Json = False) -> None:
    """The ids of the keys, the oldest first."""
    keyring = _with_keyring(load_keyring, as_json=as_json)
    if as_json:
        print(json.dumps({"active": keyring.active, "keys": keyring.ids}))
        return
    for key_id in keyring.ids:
        print(f"{key_id}  {'encrypts and decrypts' if key_id == keyring.active else 'decrypts'}")


@keyring_app.command("rotate")
def rotate(as_json: Json = False) -> None:
    """Add a key and encrypt with it from each process's next start on; the old keys still decrypt."""
    key_id = _with_keyring(rotate_keyring, as_json=as_json)
    if as_json:
        print(json.dumps({"active": key_id}))
    else:
        print(f"new key {key_id}; now copy the keyring to every process (mode 0600) and restart the workers")


@keyring_app.command("retire")
def retire(
    key: Annotated[str, typer.Argument(help="Id of the key, as `show` prints it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an old key: histories that it encrypted can never be read again."""
    if not yes:
        typer.confirm(f"Histories encrypted with {key} become unreadable, running rollouts too. Remove it?", abort=True)
    _with_keyring(lambda path: retire_keyring(path, key), as_json=as_json)
    print(json.dumps({"retired": key}) if as_json else f"key {key} is gone")


def _with_keyring(work: Callable[[Path], T], *, as_json: bool) -> T:
    try:
        path = load_settings().payload_keys
        if path is None:
            raise refuse(
                "keyring.missing",
                "payloads are not encrypted: there is no keyring",
                f"name one in the setting {SETTING}",
            )
        return work(path)
    except SealringError as error:
        raise typer.Exit(tell(error, as_json=as_json)) from None
