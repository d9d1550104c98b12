"""Keys of endpoints as the store keeps them: encrypted by REVERIE_SECRET_KEY.

Fernet (AES-128-CBC with HMAC-SHA256) under a key that HKDF (RFC 5869) derives from each secret; the first of several
secrets encrypts, and each decrypts.
"""

import base64
from typing import TYPE_CHECKING, Final

from reverie.core.secret import Secret

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_PURPOSE: Final = b"reverie: keys of endpoints"


class Sealing:
    """Encrypts and decrypts with the secrets of this process."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._fernet: MultiFernet | None = None

    @property
    def possible(self) -> bool:
        """Whether there is a secret to encrypt with."""
        return bool(self._secret.keys)

    def sealed(self, text: str) -> bytes:
        """A key as it is stored; there is a secret (:attr:`possible`)."""
        return self._cipher().encrypt(text.encode())

    def opened(self, token: bytes) -> str | None:
        """A key that was stored; None where no secret of this process decrypts it."""
        from cryptography.fernet import InvalidToken

        if not self.possible:
            return None
        try:
            return self._cipher().decrypt(token).decode()
        except (InvalidToken, UnicodeDecodeError):
            return None

    def _cipher(self) -> "MultiFernet":
        # Imported here: a start without keys in the store does without it.
        from cryptography.fernet import Fernet, MultiFernet
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if self._fernet is None:
            derived = [HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(key) for key in self._secret.keys]
            self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])
        return self._fernet
