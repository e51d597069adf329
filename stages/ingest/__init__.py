"""From alerts to incidents: what is one problem, how bad it is, and when it is over."""

from stages.ingest.options import IngestOptions
from stages.ingest.stage import Ingest

__all__ = ["Ingest", "IngestOptions"]
