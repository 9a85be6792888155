"""What all tests share."""

import os

from hypothesis import settings

# In CI a failure must speak of the change that is tested: the same examples every time. Elsewhere
# Hypothesis looks for new ones.
# A machine may be busy: no example has a deadline.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "here")
