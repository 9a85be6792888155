"""Programs that a person writes in a unit's place, apart from what was found."""
