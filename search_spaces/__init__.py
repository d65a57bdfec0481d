"""Search spaces: the networks that can be built, and their costs.

The package imports neither torch nor numpy. A name's module is imported when the name is first used.
"""

from typing import TYPE_CHECKING

from search_spaces.lazy_imports import import_lazily

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture, Choice
    from search_spaces.budget.budget import Budget
    from search_spaces.costs import Costs
    from search_spaces.errors import UserError
    from search_spaces.latency_table import LatencyTable
    from search_spaces.loading import from_specification, load
    from search_spaces.published_networks import PublishedNetwork, published, published_names
    from search_spaces.registry import names
    from search_spaces.space import SearchSpace

__all__ = [
    "Architecture",
    "Budget",
    "Choice",
    "Costs",
    "LatencyTable",
    "PublishedNetwork",
    "SearchSpace",
    "UserError",
    "from_specification",
    "load",
    "names",
    "published",
    "published_names",
]

__getattr__ = import_lazily(
    __name__,
    {
        "Architecture": "search_spaces.architecture",
        "Budget": "search_spaces.budget.budget",
        "Choice": "search_spaces.architecture",
        "Costs": "search_spaces.costs",
        "LatencyTable": "search_spaces.latency_table",
        "PublishedNetwork": "search_spaces.published_networks",
        "SearchSpace": "search_spaces.space",
        "UserError": "search_spaces.errors",
        "from_specification": "search_spaces.loading",
        "load": "search_spaces.loading",
        "names": "search_spaces.registry",
        "published": "search_spaces.published_networks",
        "published_names": "search_spaces.published_networks",
    },
)
