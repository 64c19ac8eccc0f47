"""One file of a hub, by byte range: where it lies, and whether what comes is what was asked for.

`/resolve/` is asked once for each file; it redirects to a signed address of a store, which then gives all other ranges
until it expires. Where the hub sends the bytes itself, it is asked each time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from atlas_pipeline.repositories.hub.addresses import without_query
from atlas_pipeline.repositories.hub.errors import ModelChanged, refusal
from atlas_pipeline.repositories.hub.listing import Listing
from atlas_pipeline.repositories.hub.requests import Body, HubRequests
from atlas_pipeline.repositories.hub.waiting import Call
from atlas_pipeline.repositories.interface import SHA256, FileEntry, RepositoryError

MAX_WHOLE_BYTES: Final = 1 << 20
"""A file of up to 1 MiB is read whole where the server gives no ranges."""

_MAX_REFUSED: Final = 2
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


class _Refused(Exception):
    """An address that a redirect led to does not, or no longer, give the file."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class FileCall(Call):
    """A call that reads ranges of one file.

    Attributes:
        whole: The whole file, if a server without ranges has sent it.
    """

    whole: bytes | None = None


class HubFile:
    """A file at one commit. Threads share it, and what they learn about where it lies."""

    def __init__(self, requests: HubRequests, model_id: str, listing: Listing, entry: FileEntry) -> None:
        """Asks for nothing yet.

        Args:
            requests: Sends requests.
            model_id: The name of the model for errors.
            listing: The model, by its present name and commit.
            entry: The file.
        """
        self.entry = entry
        self._requests = requests
        self._model_id = model_id
        self._revision = listing.revision
        self._what = f"The file {entry.path!r} of model {model_id}"
        name = f"{quote(listing.model_id)}/resolve/{listing.revision}/{quote(entry.path)}"
        self._resolve_url = f"{requests.endpoint}/{name}"
        self._url: str | None = None
        self._etag: tuple[str, str] | None = None
        self._lock = threading.Lock()

    @property
    def is_located(self) -> bool:
        """Whether it is known where the bytes lie."""
        return self._url is not None

    def fetch(self, start: int, stop: int, call: FileCall) -> bytes:
        """The bytes [start, stop).

        Raises:
            ModelGated, ModelNotFound, ModelDisabled, FileNotInModel: If the hub says so.
            RepositoryError: If the file has changed, cannot be read, or only as a whole and is large.
            Abandoned: If the call was abandoned.
        """
        n_refused = 0
        while True:
            if call.whole is not None:
                return call.whole[start:stop]
            url = self._url
            try:
                if url is not None:
                    return self._get(url, start, stop, call)
                # One thread asks where the file lies, and the others wait for what it learns.
                with self._lock:
                    call.check()
                    if self._url is None:
                        return self._get(self._resolve_url, start, stop, call)
            except _Refused as refused:
                n_refused += 1
                if n_refused == _MAX_REFUSED:
                    raise RepositoryError(
                        f"{self._what} cannot be read: its store answers with HTTP {refused.status}."
                    ) from None
                # Signed addresses expire. All that used this one are refused; the first forgets it.
                with self._lock:
                    if self._url == url:
                        self._url = None

    def _get(self, url: str, start: int, stop: int, call: FileCall) -> bytes:
        answer = self._requests.get(
            url,
            kind="resolve" if self._requests.is_own(url) else "data",
            what=self._what,
            expect=lambda at, status, headers: self._expect(at, status, headers, start, stop),
            call=call,
            byte_range=(start, stop),
        )
        if answer.status not in (200, _PARTIAL):
            is_first = url == self._resolve_url
            if is_first and self._requests.is_own(answer.url):
                raise refusal(answer.url, answer.status, answer.headers, model_id=self._model_id, path=self.entry.path)
            raise _Refused(answer.status)
        self._url = answer.url
        if answer.status == _PARTIAL:
            return answer.body
        call.whole = answer.body
        return answer.body[start:stop]

    def _expect(self, url: str, status: int, headers: Mapping[str, str], start: int, stop: int) -> Body | None:
        """Checks an answer before its body is read, and says how much of it to read."""
        if self._requests.is_own(url):
            self._check_commit(headers)
        if status == _UNSATISFIABLE:
            raise self._changed("it ends earlier")
        if status not in (200, _PARTIAL):
            return None
        size = self.entry.size_bytes
        self._check_etag(url, headers)
        if status == 200:
            if headers.get("content-length", str(size)) != str(size):
                raise self._changed("its size is another")
            if size > MAX_WHOLE_BYTES and stop - start < size:
                raise RepositoryError(
                    f"{self._what} cannot be read: the server does not support ranges, and {size} bytes are too many "
                    "to read whole."
                )
            return Body(size, is_exact=True)
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "")[:100].strip())
        if not match or (int(match[1]), int(match[2]) + 1) != (start, stop):
            raise RepositoryError(
                f"{self._what} cannot be read: the server answers with other bytes than [{start}, {stop})."
            )
        if int(match[3]) != size:
            raise self._changed(f"it had {size} bytes and has {int(match[3])}")
        return Body(stop - start, is_exact=True)

    def _check_commit(self, headers: Mapping[str, str]) -> None:
        """Compares what the hub says about the file with the listing."""
        commit = headers.get("x-repo-commit")
        if commit is not None and commit != self._revision:
            raise self._changed("another commit is sent")
        size = headers.get("x-linked-size")
        if size is not None and size != str(self.entry.size_bytes):
            raise self._changed("its size is another")
        digest = _tag(headers.get("x-linked-etag"))
        if self.entry.sha256 and SHA256.fullmatch(digest) and digest != self.entry.sha256:
            raise self._changed("its content is another")

    def _check_etag(self, url: str, headers: Mapping[str, str]) -> None:
        """Compares the server's name for the content with the one it gave before at the same place."""
        etag = _tag(headers.get("etag"))
        if not etag:
            return
        place = without_query(url)
        if self._etag is None or self._etag[0] != place:
            self._etag = place, etag
        elif self._etag[1] != etag:
            raise self._changed("its content is another")

    def _changed(self, how: str) -> ModelChanged:
        return ModelChanged(f"{self._what} has changed between requests: {how}.")


def _tag(etag: str | None) -> str:
    return (etag or "")[:200].strip().removeprefix("W/").strip('"')
