"""Every bar of a row of the table is a check that can fail."""

from benchmarks.networks_row import Bars, checks_of

ROW = {
    "units": {"opaque": 0},
    "opaque_nodes": [],
    "bits": 900,
    "bits_share": 0.09,
    "lossless_share": 0.9,
    "agreement": 0.995,
    "accuracy_change": -0.001,
    "changed": 1,
    "short_coverage": 0.5,
    "short_by_layer": {"conv1": 0.95},
    "bits_shuffled_control": 1000,
    "shuffled_control": {"at_equal_kl": True},
    "r2_interventions": 0.99,
    "times": {1: 0.9, 64: 1.0},
}
BARS = Bars(share=0.1, agreement=0.99, change=-0.004, changed=1, short=0.4)


def missed(bars: Bars = BARS, **changed: object) -> list[str]:
    return [c.name for c in checks_of("net", ROW | changed, bars) if not c.holds]


def test_each_bar_can_be_missed():
    """A row that holds all of them, and one figure after the other that does not."""
    assert missed() == []
    assert missed(units={"opaque": 1}) == ["net: opaque units"]
    assert missed(opaque_nodes=[{}]) == ["net: opaque units"]
    assert missed(bits_share=0.11) == ["net: share of bits"]
    assert missed(agreement=0.989) == ["net: agreement"]
    assert missed(accuracy_change=-0.005) == ["net: accuracy change"]
    assert missed(changed=2) == ["net: changed answers"]
    assert missed(short_coverage=0.39) == ["net: short coverage"]
    assert missed(lossless_share=0.08) == ["net: entropy code"]
    assert missed(bits_shuffled_control=900) == ["net: bits, shuffled control"]
    assert missed(shuffled_control={"at_equal_kl": False}) == ["net: bits, shuffled control"]
    assert missed(r2_interventions=None) == ["net: R² of interventions"]
    assert missed(times={1: 1.06, 64: 1.0}) == ["net: time at batch 1"]


def test_short_coverage_of_a_layer():
    """It may be asked of one layer; what is not asked is no check."""
    assert missed(Bars(share=0.1, short={"conv1": 0.96})) == ["net: short coverage of conv1"]
    assert missed(Bars(share=0.1), agreement=0.5, accuracy_change=-1.0, short_coverage=0.0) == []
