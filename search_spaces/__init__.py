"""What can be built, and what it costs.

Importing this package loads neither torch nor numpy: each name is fetched from its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.architecture import Architecture, Choice
    from search_spaces.budget.budget import Budget
    from search_spaces.costs import Costs
    from search_spaces.errors import UserError
    from search_spaces.latency_table import LatencyTable
    from search_spaces.loading import from_specification, load
    from search_spaces.published_networks import Published, published, published_names
    from search_spaces.registry import names
    from search_spaces.space import SearchSpace

__all__ = [
    "Architecture",
    "Budget",
    "Choice",
    "Costs",
    "LatencyTable",
    "Published",
    "SearchSpace",
    "UserError",
    "from_specification",
    "load",
    "names",
    "published",
    "published_names",
]

_MODULES = {
    "Architecture": "space",
    "Budget": "budget.budget",
    "Choice": "space",
    "Costs": "costs",
    "LatencyTable": "latency_table",
    "Published": "published_networks",
    "SearchSpace": "space",
    "UserError": "errors",
    "from_specification": "loading",
    "load": "loading",
    "names": "loading",
    "published": "published_networks",
    "published_names": "published_networks",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
    return getattr(import_module(f"search_spaces.{_MODULES[name]}"), name)
