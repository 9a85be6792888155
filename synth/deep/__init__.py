"""Deep programs: units written over an earlier bank, skipping the layers between."""
