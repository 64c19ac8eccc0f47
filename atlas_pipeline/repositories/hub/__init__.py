"""The Hugging Face Hub as a repository, read by byte range."""

from atlas_pipeline.repositories.hub.range_cache import RangeCache
from atlas_pipeline.repositories.hub.repository import HubRepository
from atlas_pipeline.repositories.hub.traffic import Count, Traffic
from atlas_pipeline.repositories.hub.waiting import RetryPolicy

__all__ = ["Count", "HubRepository", "RangeCache", "RetryPolicy", "Traffic"]
