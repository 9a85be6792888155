"""What is asked of a choice takes the place of what the run was to hold, and no more."""

import json
import math
from dataclasses import asdict, replace

from synth.asked import Asked
from synth.picking import Criteria

OWN = Criteria(max_fvu=0.05, max_error=0.25, max_kl=0.01, min_agreement=0.99)


def test_limits_that_are_given() -> None:
    """One that is not given is none; units hold what they held, and as little is nothing."""
    found = Asked("../net", max_kl=0.5).criteria(OWN)
    assert (found.max_kl, found.min_agreement, found.most_bits) == (0.5, 0.0, None)
    assert found.nothing == OWN.nothing and found.max_fvu == OWN.max_fvu and not found.short
    found = Asked("../net", bits=400, min_agreement=0.9, beside=64).criteria(OWN)
    assert (found.max_kl, found.min_agreement, found.most_bits) == (math.inf, 0.9, 336)


def test_short_alone_keeps_the_limits_of_the_run() -> None:
    """KL and agreement; or, of a run that was given its bits, these alone."""
    asked = Asked("../net", short=True)
    assert asked.criteria(OWN) == replace(OWN, short=True, free=OWN.nothing)
    found = asked.criteria(replace(OWN, most_bits=300))
    assert (found.max_kl, found.min_agreement, found.most_bits) == (math.inf, 0.0, 300)
    assert str(asked) == "the limits of the run, short programs first"


def test_programs_by_hand_keep_the_limits_of_the_run() -> None:
    """Which programs were given tells one choice from another; of the network no more is asked."""
    asked = Asked("../net", hand={"fc1[0]": ["relu(input_0)"]}, hand_first=True)
    assert asked.criteria(OWN) == replace(OWN, free=OWN.nothing)
    assert str(asked) == "the limits of the run, written by hand first"
    assert Asked(**json.loads(json.dumps(asdict(asked)))) == asked


def test_in_words() -> None:
    """All that is asked is said."""
    asked = Asked("../net", bits=4000, max_kl=1e-4, min_agreement=0.99, short=True)
    words = "at most 4,000 bits, KL ≤ 0.0001 nats, agreement ≥ 0.99, short programs first"
    assert str(asked) == words
