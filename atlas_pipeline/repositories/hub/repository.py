"""The Hugging Face Hub as a repository: rows of any model are read by byte range, without downloading it.

Here belongs what a repository does: listings, pinned commits, the cache, and many ranges at once. How one request is
sent belongs in `requests`; how one file is found and checked, in `files`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

from huggingface_hub import constants

from atlas_pipeline.repositories.hub.errors import ModelChanged, refusal
from atlas_pipeline.repositories.hub.files import FileCall, HubFile
from atlas_pipeline.repositories.hub.listing import MAX_LISTING_BYTES, Listing, parse_listing
from atlas_pipeline.repositories.hub.range_cache import RangeCache
from atlas_pipeline.repositories.hub.requests import Body, HubRequests
from atlas_pipeline.repositories.hub.traffic import Traffic, TrafficMeter
from atlas_pipeline.repositories.hub.waiting import Abandoned, Call, RetryPolicy, Waiting
from atlas_pipeline.repositories.interface import (
    MAX_READ_BYTES,
    FileEntry,
    FileNotInModel,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RepositoryError,
    ShortRead,
    validate_file_path,
    validate_model_id,
)

Range = tuple[int, int]

MAX_CONNECTIONS: Final = 100
"""What the client of huggingface_hub keeps open at most."""

MAX_MODELS_IN_MEMORY: Final = 4096
"""Listings and places of files of more models are forgotten, the oldest first; never the commits."""


class _Model:
    """What is known of one model."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self.lock = threading.Lock()
        self.listing: Listing | None = None
        self.problem: RepositoryError | None = None
        self.files: dict[str, HubFile] = {}


class HubRepository:
    """Reads models of the Hugging Face Hub, or another hub with its interface.

    Endpoint, token, offline mode and HTTP client are those of huggingface_hub. The first listing of a model pins its
    commit; everything is read of that, and what turns out to be of another is an error. At most `max_connections`
    requests run at the same time, whatever number of threads calls.

    Every method raises RepositoryError: ModelNotFound, ModelGated and ModelDisabled where the Hub says so,
    FileNotInModel, ShortRead, BudgetSpent, and otherwise one that names the model, the file and the HTTP status. No
    message holds an address or a token.
    """

    gap_bytes: Final = 1 << 16
    n_parallel: Final = 16

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        token: str | bool | None = None,
        cache: Path | None = None,
        max_connections: int = 32,
        budget_bytes: int | None = None,
        listing_age_s: float = 86_400,
        retries: RetryPolicy | None = None,
        seed: int = 0,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects to nothing yet.

        Args:
            endpoint: Address of the hub; None for that of huggingface_hub (HF_ENDPOINT).
            token: As in huggingface_hub: None for the saved one (HF_TOKEN), False for none.
            cache: File that keeps listings and ranges from run to run (`RangeCache`); None for none.
            max_connections: Requests at the same time, 1 to MAX_CONNECTIONS.
            budget_bytes: Bytes that may come over the network; None for as many as it takes.
            listing_age_s: A kept listing that is younger is used without asking the Hub.
            retries: How failed requests are repeated; None for the default.
            seed: Seed of the waits' jitter.
            sleep: Waits so many seconds; None for the real thing.
            clock: Seconds since any moment.

        Raises:
            ValueError: If max_connections is out of range.
            RepositoryError: If the endpoint is no web address.
        """
        if not 1 <= max_connections <= MAX_CONNECTIONS:
            raise ValueError(f"max_connections is {max_connections}; it takes 1 to {MAX_CONNECTIONS}.")
        self._meter = TrafficMeter(budget_bytes)
        waiting = Waiting(retries or RetryPolicy(), seed=seed, sleep=sleep, clock=clock)
        self._requests = HubRequests(endpoint or constants.ENDPOINT, token=token, meter=self._meter, waiting=waiting)
        self._cache = RangeCache(cache, origin=self._requests.endpoint) if cache else None
        self._listing_age_s = listing_age_s
        self._pool = ThreadPoolExecutor(max_connections, thread_name_prefix="hub")
        self._lock = threading.Lock()
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._revisions: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads and closes the cache; nothing can be read afterwards."""
        self._pool.shutdown(cancel_futures=True)
        if self._cache:
            self._cache.close()

    @property
    def traffic(self) -> Traffic:
        """Requests and bytes so far."""
        return self._meter.traffic

    def costs(self) -> Mapping[str, int]:
        """Requests and bytes by kind, as in `traffic`."""
        traffic = self.traffic
        return {
            "requests_for_listings": traffic.api.n_requests,
            "requests_to_the_hub": traffic.resolve.n_requests,
            "requests_to_its_store": traffic.data.n_requests,
            "bytes_fetched": traffic.n_bytes,
        }

    def models(self) -> list[str]:
        """Raises RepositoryError: a hub has millions of models; which ones are wanted comes from its statistics."""
        raise RepositoryError("The Hub's models cannot be listed: there are millions. ATLAS_HUB_STATS names them.")

    def files(self, model_id: str) -> list[FileEntry]:
        """Files of a model at its pinned commit, sorted by path; hidden files are left out.

        Raises:
            InvalidModelId: If the id is not one.
            ModelNotFound, ModelGated, ModelDisabled: If the Hub says so.
            RepositoryError: If the listing cannot be read, or makes no sense.
        """
        return list(self._listed(model_id)[1].files)

    def revision(self, model_id: str) -> str:
        """The pinned commit; errors as in `files`."""
        return self._listed(model_id)[1].revision

    def sha256(self, model_id: str, path: str) -> str | None:
        """Hex SHA-256 of a file as the listing has it, None if it does not; errors as in `files`."""
        return self._file(model_id, path).entry.sha256

    def read(self, model_id: str, path: str, start: int, stop: int) -> bytes:
        """See Repository.read; errors as in `read_ranges`."""
        return self.read_ranges(model_id, path, [(start, stop)])[0]

    def read_ranges(self, model_id: str, path: str, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes [start, stop) of several ranges of a file, in their order. Equal ranges are read once.

        Raises:
            FileNotInModel: If the model has no such file.
            ShortRead: If the file ends before a range does.
            BudgetSpent: If the ranges would exceed the budget; nothing is read then.
            RepositoryError: If a range is none or longer than MAX_READ_BYTES, the file has changed, or reading fails;
                its subclasses as in `files`. What was read is kept in the cache even so.
        """
        file = self._file(model_id, path)
        for start, stop in ranges:
            if not 0 <= start <= stop or stop - start > MAX_READ_BYTES:
                raise RepositoryError(
                    f"The byte range [{start}, {stop}) of {path!r} in model {model_id} cannot be read."
                )
            if stop > file.entry.size_bytes:
                raise ShortRead(f"The file {path!r} of model {model_id} ends before byte {stop}.")
        wanted = sorted({each for each in ranges if each[0] < each[1]})
        revision = self._revisions[model_id]
        found = self._cache.ranges(model_id, revision, path, wanted) if self._cache else {}
        if missing := [each for each in wanted if each not in found]:
            fetched: dict[Range, bytes] = {}
            try:
                self._fetch(file, missing, fetched)
            except (ModelChanged, FileNotInModel):
                # The next run asks for a new listing.
                if self._cache:
                    self._cache.forget_listing(model_id)
                raise
            finally:
                if self._cache and fetched:
                    self._cache.keep_ranges(model_id, revision, path, fetched)
            found |= fetched
        return [found.get(each, b"") for each in ranges]

    def _fetch(self, file: HubFile, missing: Sequence[Range], fetched: dict[Range, bytes]) -> None:
        """Reads ranges side by side, and puts each into `fetched` that succeeds; raises the first error."""
        self._meter.require(sum(stop - start for start, stop in missing))
        call = FileCall()
        try:
            if not file.is_located:
                # The first range finds out where the file lies.
                self._collect({missing[0]: self._pool.submit(file.fetch, *missing[0], call)}, fetched, call)
                missing = missing[1:]
            self._collect({each: self._pool.submit(file.fetch, *each, call) for each in missing}, fetched, call)
        except BaseException:
            call.abandon()
            raise

    @staticmethod
    def _collect(futures: Mapping[Range, Future[bytes]], fetched: dict[Range, bytes], call: Call) -> None:
        done, _ = wait(futures.values(), return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            call.abandon()
            for future in futures.values():
                future.cancel()
            wait(futures.values())
        errors = []
        for each, future in futures.items():
            if future.cancelled():
                continue
            if (error := future.exception()) is None:
                fetched[each] = future.result()
            elif not isinstance(error, Abandoned):
                errors.append(error)
        if errors:
            raise errors[0]

    def _file(self, model_id: str, path: str) -> HubFile:
        model, listing = self._listed(model_id)
        validate_file_path(model_id, path)
        with model.lock:
            file = model.files.get(path)
            if file is None:
                entry = next((entry for entry in listing.files if entry.path == path), None)
                if entry is None:
                    raise FileNotInModel(f"Model {model_id} has no file {path!r}.")
                file = model.files[path] = HubFile(self._requests, model_id, listing, entry)
        return file

    def _listed(self, model_id: str) -> tuple[_Model, Listing]:
        """What is known of a model, with its listing; threads that want the same one wait for one request."""
        validate_model_id(model_id)
        with self._lock:
            model = self._models.setdefault(model_id, _Model(model_id))
            self._models.move_to_end(model_id)
            if len(self._models) > MAX_MODELS_IN_MEMORY:
                self._models.popitem(last=False)
        with model.lock:
            if model.problem is not None:
                # A base that is missing may be asked for by thousands of adapters.
                raise type(model.problem)(str(model.problem))
            if model.listing is None:
                try:
                    model.listing = self._find_listing(model_id)
                except (ModelNotFound, ModelGated, ModelDisabled) as error:
                    model.problem = error
                    raise
                self._revisions[model_id] = model.listing.revision
            return model, model.listing

    def _find_listing(self, model_id: str) -> Listing:
        pinned = self._revisions.get(model_id)
        if self._cache:
            max_age_s = math.inf if constants.is_offline_mode() else self._listing_age_s
            kept = Listing.from_json(self._cache.listing(model_id, max_age_s=max_age_s) or "")
            if kept is not None and pinned in (None, kept.revision):
                return kept
        call = Call()
        try:
            listing = self._pool.submit(self._ask_listing, model_id, pinned, call).result()
        except BaseException:
            call.abandon()
            raise
        if pinned not in (None, listing.revision):
            raise ModelChanged(f"Model {model_id} has changed: the Hub lists another commit than it was asked for.")
        if self._cache:
            self._cache.keep_listing(model_id, listing.to_json())
        return listing

    def _ask_listing(self, model_id: str, pinned: str | None, call: Call) -> Listing:
        revision = f"/revision/{pinned}" if pinned else ""
        answer = self._requests.get(
            f"{self._requests.endpoint}/api/models/{quote(model_id)}{revision}?blobs=true",
            kind="api",
            what=f"The listing of model {model_id}",
            expect=lambda _, status, __: Body(MAX_LISTING_BYTES, is_exact=False) if status == 200 else None,
            call=call,
        )
        if answer.status != 200:
            raise refusal(answer.url, answer.status, answer.headers, model_id=model_id, path=None)
        return parse_listing(model_id, answer.body)
