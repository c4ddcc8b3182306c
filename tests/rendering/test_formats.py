"""Numbers and names as people read them."""

from terracyte.rendering import formats


def test_numbers_for_reading() -> None:
    assert formats.percent(0.7322) == "73.2"
    assert formats.percent(float("nan")) == "–"  # noqa: RUF001
    shares = [(0.5, 0.6), (0.8996, 0.9), (0.89996, 0.9), (0.9, 0.9)]
    assert [formats.telling_apart(*pair) for pair in shares] == [1, 2, 3, 4]
    assert formats.interval(0.7, 0.75) == "70.0 to 75.0"
    assert formats.estimate(0.7322, 0.7, 0.75) == "73.2 (70.0 to 75.0)"
    assert [formats.p_value(p) for p in (0.0123, 0.0004, float("nan"))] == ["0.012", "< 0.001", "–"]  # noqa: RUF001
    assert formats.difference(-0.1, -0.2, 0.0004) == "−10.0 (−20.0 to +0.0)"  # noqa: RUF001
    assert formats.difference(-0.0001, -0.0001, 0.0) == "+0.0 (+0.0 to +0.0)"
    assert formats.difference(float("nan"), float("nan"), float("nan")) == "–"  # noqa: RUF001
    assert formats.count(1234567) == "1\u202f234\u202f567"
    assert formats.sentence("plain U-Net") == "Plain U-Net"
    assert formats.words("val_mean_iou") == "validation mean IoU"
