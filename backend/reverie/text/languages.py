"""Languages that PostgreSQL's text search knows; the settings name one too, so the table is in ``core``."""

from reverie.core.languages import CONFIGURATIONS, SIMPLE, configuration

__all__ = ["CONFIGURATIONS", "SIMPLE", "configuration"]
