"""What the fleet remembers: the only package that speaks SQL, one file a subject.

Every method is one transaction; times are passed in. All of it may be called from several threads.
"""

from __future__ import annotations

from fleet.store.database import Database, count_changes
from fleet.store.devices import Devices
from fleet.store.figures import Figures
from fleet.store.placements import Placements
from fleet.store.releases import Releases
from fleet.store.retraining import Retraining
from fleet.store.telemetry import Telemetry
from fleet.store.wishes import Wishes


class Store:
    """The database of one fleet, by subject."""

    def __init__(self, url: str) -> None:
        """Open it; missing tables are made.

        Raises:
            UnreachableError: it can't be opened.
            FleetError: a version with another schema made it.
        """
        self._database = Database(url)
        self.devices = Devices(self._database)
        self.releases = Releases(self._database)
        self.wishes = Wishes(self._database)
        self.placements = Placements(self._database)
        self.telemetry = Telemetry(self._database)
        self.retraining = Retraining(self._database)
        self.figures = Figures(self._database)

    def changes(self) -> int:
        """A number that grows with every enrolment, release and wish: equal numbers, equal assignments."""
        with self._database.reading() as connection:
            return count_changes(connection)

    def close(self) -> None:
        """Give back the connections."""
        self._database.close()
