"""One vault over its HTTP API, the same for HashiCorp Vault and OpenBao: log in, read, write, say why not.

Tokens and secret ids are read from files when they are needed and are held in memory only; they travel in headers and
bodies, never in an address. Answers: https://openbao.org/api-docs/ (status codes), auth/approle, auth/token.
"""

import asyncio
import json
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from sealring.errors import Actor, SealringError, passing, refuse
from sealring.local_files import at_home, read_small
from sealring.models.vault import VaultSettings

MAX_ANSWER = 1 << 20  # bytes; a KV secret is at most 1 MiB by the server's own default
MAX_SECRET = 1 << 14  # bytes of a token or secret id file

_STANDBY = {307, 429, 472, 473}  # 472, 473: standby of a replica


class Vault:
    """A vault with the token in use. Belongs to one event loop; requests may run side by side."""

    def __init__(self, settings: VaultSettings) -> None:
        """Connects at the first request.

        Raises:
            SealringError: `vault.settings` when the CA file cannot be used.
        """
        self.settings = settings
        self._token = ""
        self._login = asyncio.Lock()
        self._http = httpx.AsyncClient(
            base_url=settings.address,
            verify=_trust(settings.ca),
            timeout=settings.timeout.total_seconds(),
            trust_env=False,  # neither proxies nor .netrc of the account decide where a token goes
            headers={"X-Vault-Namespace": settings.namespace} if settings.namespace else None,
        )

    async def close(self) -> None:
        """Close the connections; the token is forgotten."""
        self._token = ""
        await self._http.aclose()

    async def read(self, path: str, **query: str) -> Mapping[str, Any] | None:
        """The `data` of an answer; None when there is nothing at this path.

        A token that is refused is replaced once: by a new login, or by what its file holds by then.

        Args:
            path: below /v1/, its segments quoted by the caller.
            query: parameters.

        Raises:
            SealringError: stop: `vault.denied`, `vault.token-refused`, `vault.login-refused`, `vault.secret-file`,
                `vault.refused`; retry: `vault.unreachable`, `vault.tls`, `vault.timeout`, `vault.sealed`,
                `vault.standby`, `vault.failing`.
        """
        status, body = await self._authorised("GET", path, query=query)
        if status == 404:
            # A deleted version answers 404 with data: its metadata. For us there is nothing either.
            return None
        return _data(path, status, body)

    async def write(self, path: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Post fields; the `data` of the answer.

        Raises:
            SealringError: as `read`; `vault.refused` where there is nothing at this path too.
        """
        return _data(path, *await self._authorised("POST", path, content=content))

    async def _authorised(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        """Ask with a token; never answers 403."""
        token = self._token or await self._renewed("")
        status, body = await self._ask(method, path, token=token, query=query, content=content)
        if status == 403:
            token = await self._renewed(token)
            status, body = await self._ask(method, path, token=token, query=query, content=content)
        if status == 403:
            raise await self._denied("read" if method == "GET" else "update", path, token)
        return status, body

    async def _renewed(self, refused: str) -> str:
        """A token other than the refused one, where there is one; one login at a time, its token for all."""
        async with self._login:
            if self._token in ("", refused):
                settings = self.settings
                if settings.token_file is not None:
                    self._token = await asyncio.to_thread(_secret, "vault.token_file", settings.token_file)
                else:
                    self._token = await self._log_in()
            return self._token

    async def _log_in(self) -> str:
        assert self.settings.secret_id_file is not None
        secret = await asyncio.to_thread(_secret, "vault.secret_id_file", self.settings.secret_id_file)
        path = f"auth/{self.settings.approle_mount}/login"
        status, body = await self._ask("POST", path, content={"role_id": self.settings.role_id, "secret_id": secret})
        auth = body.get("auth")
        token = auth.get("client_token") if isinstance(auth, Mapping) else None
        if status == 200 and isinstance(token, str):
            return token
        raise refuse(
            "vault.login-refused",
            f"{self.settings.address}: AppRole login at {path} was refused ({status}: {_errors(body)})",
            "correct vault.role_id, or write a new secret id into vault.secret_id_file "
            "(`bao write -f auth/approle/role/NAME/secret-id`)",
            actor=Actor.PKI_ADMIN,
        )

    async def _denied(self, capability: str, path: str, token: str) -> SealringError:
        """403 says neither whether the token is dead nor whether it lacks a right: the token itself can be asked."""
        status, body = await self._ask("GET", "auth/token/lookup-self", token=token)
        if status != 200 and self.settings.token_file is not None:
            return refuse(
                "vault.token-refused",
                f"{self.settings.address}: the token in {self.settings.token_file} has expired or was revoked",
                "write a valid token into that file; it is read again at the next attempt",
                actor=Actor.PKI_ADMIN,
            )
        data = body.get("data")
        policies = data.get("policies") if isinstance(data, Mapping) else None
        has = ", ".join(map(str, policies)) if isinstance(policies, list) else "unknown"
        return refuse(
            "vault.denied",
            f"{self.settings.address}: {capability} of {path} is denied; the token's policies: {has}",
            f'add to one of these policies: path "{path}" {{ capabilities = ["{capability}"] }} (docs/sources.md)',
            actor=Actor.PKI_ADMIN,
        )

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        token: str = "",
        query: Mapping[str, str] | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        """Status and answer. What passes by itself is raised; the rest is the caller's to judge."""
        address = self.settings.address
        try:
            headers = {"X-Vault-Request": "true"} | ({"X-Vault-Token": token} if token else {})
            request = self._http.build_request(method, f"/v1/{path}", params=query, json=content, headers=headers)
            answer = await self._http.send(request, stream=True)
            try:
                raw = b""
                async for piece in answer.aiter_bytes():
                    raw += piece
                    if len(raw) > MAX_ANSWER:
                        raise _refused(path, answer.status_code, {"errors": [f"more than {MAX_ANSWER} bytes"]})
            finally:
                await answer.aclose()
        except httpx.TimeoutException:
            seconds = self.settings.timeout.total_seconds()
            raise passing("vault.timeout", f"{address}: no answer in {seconds:g} s", "look at the vault") from None
        except httpx.TransportError as error:
            if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
                remedy = "mend vault.address, vault.ca or the vault's certificate"
                raise passing("vault.tls", f"{address}: no trusted TLS: {error}", remedy) from None
            words = str(error) or type(error).__name__
            raise passing("vault.unreachable", f"{address}: {words}", "start the vault or open the way") from None
        status, body = answer.status_code, _json(raw)
        if status in _STANDBY:
            found = f"{address}: it is a standby or limits requests ({status})"
            raise passing("vault.standby", found, "name the active one in vault.address")
        if status == 503:
            raise passing("vault.sealed", f"{address}: it is sealed", "unseal it", actor=Actor.PKI_ADMIN)
        if status >= 500:
            raise passing("vault.failing", f"{address}: {path}: {status} {_errors(body)}", "read the vault's log")
        return status, body


def _trust(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=read_small(at_home(ca)).decode("ascii"))
    except (OSError, ValueError) as error:
        words = "no certificate in it" if isinstance(error, (ssl.SSLError, ValueError)) else error.strerror
        raise refuse("vault.settings", f"vault.ca: {ca}: {words}", "give a PEM file of authorities") from None
    return context


def _secret(field: str, file: Path) -> str:
    """One line out of a file that nobody else can read."""
    try:
        file = at_home(file)
        mode = stat.S_IMODE(file.stat().st_mode)
        content = read_small(file, MAX_SECRET)
    except OSError as error:
        raise _unusable(field, file, error.strerror or "it cannot be read") from None
    if mode & 0o077:
        raise _unusable(field, file, f"mode {mode:04o} lets others read it")
    text = content.strip()
    if not text or not text.isascii() or not text.decode().isprintable():
        raise _unusable(field, file, "it is not one line of plain text")
    return text.decode()


def _unusable(field: str, file: Path, found: str) -> SealringError:
    remedy = f"put it there as one line, owned by the worker's user: `chmod 0600 {file}`"
    return refuse("vault.secret-file", f"{field}: {file}: {found}", remedy)


def _refused(path: str, status: int, body: Mapping[str, Any]) -> SealringError:
    return refuse(
        "vault.refused",
        f"{path}: the vault answered {status}: {_errors(body)}",
        "compare path and namespace with the vault",
        actor=Actor.PKI_ADMIN,
    )


def _data(path: str, status: int, body: Mapping[str, Any]) -> Mapping[str, Any]:
    if status != 200:
        raise _refused(path, status, body)
    data = body.get("data")
    return data if isinstance(data, Mapping) else {}


def _json(raw: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _errors(body: Mapping[str, Any]) -> str:
    """The vault's own words, cut: they name paths and parameters, not values."""
    errors = body.get("errors")
    words = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    return " ".join(words.split())[:200] or "no reason given"
