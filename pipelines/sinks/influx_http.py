"""How an InfluxDB is spoken to: influxdb-client for `/api/v2/write`, its urllib3 for `/write` and InfluxQL.

Every answer is one of three: done, `Unavailable` (the same lines will do later), `Rejected` (they never will).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from edge.errors import WaysideError
from pipelines.sinks.follower import Unavailable
from pipelines.sinks.settings import InfluxSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 30.0
_CONNECT_S = 5.0
_REJECTED = {400, 413, 422}
"""Bad line or field type (400; 422 in 2.x), request too large (413): fewer lines may pass."""
_FORBIDDEN = {401, 403}
_RETENTION = re.compile(r"retention policy", re.IGNORECASE)
"""The operator's own rule dropped these points, the others were stored: nothing to set aside."""


class Rejected(WaysideError):
    """The database understood, and will never take all of these lines."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the server's own words."""
        self.status = status
        self.message = message
        super().__init__(f"HTTP {status}: {message}")


class Database(Protocol):
    """One database or bucket."""

    def prepare(self) -> None:
        """Make sure that it can be written to."""

    def write(self, body: bytes) -> None:
        """Store lines; when it returns, the database has them.

        Raises:
            Unavailable: not now.
            Rejected: never, or not all of them.
        """

    def influxql(self, statement: str) -> list[dict[str, Any]]:
        """Ask in InfluxQL and give the series of the first result; raises as `write` does."""

    def close(self) -> None:
        """Close connections."""


class _Http:
    """InfluxQL over urllib3, which all versions answer; and for 1.x `/write`."""

    def __init__(self, settings: InfluxSettings, timeout_s: float) -> None:
        self._settings = settings
        self._token = settings.token()
        self._pool = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=min(_CONNECT_S, timeout_s), read=timeout_s)
        )

    def influxql(self, statement: str) -> list[dict[str, Any]]:
        fields = {"db": self._settings.target, "q": statement, "epoch": "ns"}
        answer = self.request("POST", "/query", fields=fields, encode_multipart=False)
        try:
            return list(json.loads(answer)["results"][0].get("series", []))
        except (ValueError, LookupError, AttributeError) as error:
            raise Rejected(200, f"no InfluxQL answer: {answer[:200]!r}") from error

    def request(self, method: str, path: str, **how: Any) -> bytes:
        try:
            answer = self._pool.request(method, self._settings.url + path, headers=self._headers(), **how)
        except HTTPError as error:
            raise Unavailable(_short(error)) from error
        judge(answer.status, answer.data, answer.headers)
        return answer.data

    def close(self) -> None:
        self._pool.clear()

    def _headers(self) -> dict[str, str]:
        if not self._token:
            return {}
        if self._settings.api == "v1":
            return dict(urllib3.make_headers(basic_auth=self._token))
        return {"Authorization": f"Token {self._token}"}


class InfluxV1:
    """InfluxDB 1.x by `/write`."""

    def __init__(self, settings: InfluxSettings, timeout_s: float = TIMEOUT_S) -> None:
        """Build; nothing is sent."""
        self._settings = settings
        self._http = _Http(settings, timeout_s)
        self.influxql = self._http.influxql
        self.close = self._http.close

    def prepare(self) -> None:
        """Make the database if it is missing; a user who may only write needs one that an operator made."""
        quoted = self._settings.database.replace("\\", "\\\\").replace('"', '\\"')
        try:
            self.influxql(f'CREATE DATABASE "{quoted}"')
        except Unavailable as error:
            if error.status not in _FORBIDDEN:
                raise

    def write(self, body: bytes) -> None:
        """Store lines by one request."""
        parameters = urlencode({"db": self._settings.database, "precision": "ns"})
        self._http.request("POST", f"/write?{parameters}", body=body)


class InfluxV2:
    """InfluxDB 1.8 and later, 2.x and 3 by `/api/v2/write`."""

    def __init__(self, settings: InfluxSettings, timeout_s: float = TIMEOUT_S) -> None:
        """Build; nothing is sent."""
        self._settings = settings
        self._http = _Http(settings, timeout_s)
        self._client = InfluxDBClient(
            url=settings.url,
            token=settings.token(),
            org=settings.org or "-",
            timeout=int(timeout_s * 1e3),
            retries=False,
        )
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self.influxql = self._http.influxql

    def prepare(self) -> None:
        """Do nothing: the operator makes the bucket, with the retention and token it needs."""

    def write(self, body: bytes) -> None:
        """Store lines by one request."""
        try:
            self._writer.write(bucket=self._settings.bucket, record=body)
        except ApiException as error:
            judge(error.status or 0, error.body or str(error.reason).encode(), error.headers or {})
        except HTTPError as error:
            raise Unavailable(_short(error)) from error

    def close(self) -> None:
        """Close connections."""
        self._client.close()  # type: ignore[no-untyped-call] # their signature has no types; a synchronous writer needs none
        self._http.close()


def connect(settings: InfluxSettings, timeout_s: float = TIMEOUT_S) -> Database:
    """Build the way to speak that `settings.api` names; nothing is sent."""
    return (InfluxV1 if settings.api == "v1" else InfluxV2)(settings, timeout_s)


def judge(status: int, body: bytes | str, headers: Mapping[str, str]) -> None:
    """Raise what an HTTP answer means, if it is not success."""
    if 200 <= status < 300:
        return
    message = _message(body)
    if status not in _REJECTED:
        raise Unavailable(f"HTTP {status}: {message}", _seconds(headers.get("Retry-After")), status)
    if not _RETENTION.search(message):
        raise Rejected(status, message)


def _message(body: bytes | str) -> str:
    """The server's own words: 1.x says `error`, 2.x `message`."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        said = json.loads(text)
    except ValueError:
        return text.strip()[:500]
    if not isinstance(said, dict):
        return text.strip()[:500]
    return str(said.get("error") or said.get("message") or text)[:500]


def _seconds(retry_after: str | None) -> float:
    """Retry-After as a number; the form with a date is rare, and our own back-off serves it."""
    return min(float(retry_after), 300.0) if retry_after and retry_after.isdigit() else 0.0


def _short(error: HTTPError) -> str:
    """urllib3 opens its messages with the address of an object."""
    return re.sub(r"^<?[\w.]+(\(.*?\)| object at 0x[0-9a-f]+>?): ", "", str(error)) or type(error).__name__
