"""What a hub's refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status, httpx

from atlas_pipeline.repositories.interface import (
    FileNotInModel,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    RepositoryError,
)

_LONGEST_HEADER: Final = 200
_WRONG_TOKEN: Final = "Invalid credentials in Authorization header"  # noqa: S105  the Hub's words


class ModelChanged(RepositoryError):
    """What a hub sends is not of the commit that the model is read at, or no longer there."""


def refusal(url: str, status: int, headers: Mapping[str, str], *, model_id: str, path: str | None) -> RepositoryError:
    """The error that an answer of the hub's own means; huggingface_hub decides which it is, as far as it can.

    Args:
        url: What was asked for.
        status: HTTP status, 400 or above.
        headers: The answer's.
        model_id: The model.
        path: The file that was asked for; None for the model's listing.
    """
    code, message = _header(headers, "x-error-code"), _header(headers, "x-error-message")
    # Only what decides is passed on: bodies have no limit, and addresses may be signed.
    request = httpx.Request("GET", url.partition("?")[0])
    answer = httpx.Response(status, headers={"x-error-code": code, "x-error-message": message}, request=request)
    try:
        hf_raise_for_status(answer)
    # A gated model's error is a kind of "not found", too.
    except GatedRepoError:
        return ModelGated(f"Model {model_id} is gated: its author has to let the token's owner in.")
    except DisabledRepoError:
        return ModelDisabled(f"Model {model_id} is disabled by the Hub.")
    except RevisionNotFoundError:
        return ModelChanged(f"Model {model_id} has changed: the commit that it is read at is gone.")
    except EntryNotFoundError:
        return _no_file(model_id, path)
    except RepositoryNotFoundError:
        return _no_model(model_id)
    except HfHubHTTPError:
        pass
    if status == 401 and message == _WRONG_TOKEN:
        return RepositoryError(f"Model {model_id} cannot be read: the Hub does not know the token (HTTP 401).")
    if status == 404 and path is not None:
        return _no_file(model_id, path)
    if status in (401, 404):
        return _no_model(model_id)
    what = f"The file {path!r} of model {model_id}" if path is not None else f"The listing of model {model_id}"
    return RepositoryError(f"{what} cannot be read: the Hub answers with HTTP {status}.")


def _header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name, "")[:_LONGEST_HEADER].encode("ascii", "replace").decode("ascii")


def _no_model(model_id: str) -> ModelNotFound:
    return ModelNotFound(f"Model {model_id} is not on the Hub, or is private; the Hub does not tell these apart.")


def _no_file(model_id: str, path: str | None) -> FileNotInModel:
    return FileNotInModel(f"Model {model_id} has no file {path!r}.")
