"""A vault's SSH engine: it signs the deploy user's public key, for a while.

The API: https://openbao.org/api-docs/secret/ssh/ (sign SSH key).
"""

from datetime import timedelta

from sealring.errors import Actor, SealringError, refuse
from sealring.sources.vault import Vault


async def sign_key(vault: Vault, role: str, ttl: timedelta, public_key: str, user: str) -> str:
    """An OpenSSH user certificate for a key, in OpenSSH's text form; good for one login name.

    Args:
        vault: who signs.
        role: `ssh.vault_role`: <mount>/sign/<role>.
        ttl: life to ask for; the role's max_ttl bounds it.
        public_key: in OpenSSH's text form.
        user: the login name, the certificate's only principal.

    Raises:
        SealringError: stop: `vault.signing-refused`; else those of `Vault.write`.
    """
    content = {
        "public_key": public_key,
        "valid_principals": user,
        "cert_type": "user",
        "ttl": f"{int(ttl.total_seconds())}s",
    }
    try:
        answer = await vault.write(role, content)
    except SealringError as error:
        if error.code != "vault.refused":
            raise
        raise refuse(
            "vault.signing-refused",
            f"ssh.vault_role: no certificate for the login name {user} and {content['ttl']}: {error.message}",
            f"look at the role (`bao read {role.replace('/sign/', '/roles/')}`): allowed_users must name ssh.user, "
            "max_ttl be at least ssh.vault_ttl, allow_user_certificates be true; or correct ssh.vault_role",
            actor=Actor.PKI_ADMIN,
        ) from None
    return str(answer.get("signed_key", ""))
