"""The report of a run: one HTML file that says what was found, unit by unit.

`document` is what it says, as data; `page` puts that into the template beside it.
"""
