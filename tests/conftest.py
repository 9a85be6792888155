"""What all tests share."""

import os

from hypothesis import settings

# In CI a failure must speak of the change that is tested: the same examples every time. Elsewhere
# Hypothesis looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
