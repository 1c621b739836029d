"""One `[[influx]]` table of central.toml: where a database is, and how it is spoken to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.errors import ConfigurationError, Mistake
from edge.settings import Settings


class InfluxSettings(Settings):
    """A database to feed. `v1` is `/write` (InfluxDB 1.x), `v2` is `/api/v2/write` (1.8 and later, 2.x, 3)."""

    url: str
    api: Literal["v1", "v2"] = "v2"
    database: str = ""
    """v1: the database; made if it is missing."""
    bucket: str = ""
    """v2: the bucket; the operator makes it."""
    org: str = ""
    token_file: Path | None = Field(default=None, strict=False)
    """A file that holds the token (v2), or `user:password` (v1)."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("http://HOST:PORT or https://HOST:PORT")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _names_its_target(self) -> Self:
        wanted, other = ("database", "bucket") if self.api == "v1" else ("bucket", "database")
        if not getattr(self, wanted):
            raise ValueError(f"{wanted} (api {self.api} writes to one)")
        if getattr(self, other):
            raise ValueError(f"no {other} (api {self.api} has a {wanted})")
        return self

    @property
    def target(self) -> str:
        """The database or bucket that is written to."""
        return self.database or self.bucket

    @property
    def name(self) -> str:
        """What status and logs call it."""
        return f"{self.url}/{self.target}"

    def token(self) -> str:
        """Read the token; empty where none is configured.

        Raises:
            ConfigurationError: the file can't be read.
        """
        if self.token_file is None:
            return ""
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            mistake = Mistake("central.toml", "influx.token_file", str(self.token_file), f"a file ({error.strerror})")
            raise ConfigurationError([mistake]) from error
