import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte.images.similarity import hamming
from terracyte.images.similarity import histograms as colours
from terracyte.images.similarity import pairs as similarity
from terracyte.images.similarity.hamming import hash_pairs
from terracyte.images.similarity.histograms import histograms, isolation, nearest
from terracyte.images.similarity.pairs import Pairs, components, similar_pairs, verify
from tests.pictures import BLOOD, Images, blood_manifest, classification, textures


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(0, [[0, 4]]), (1, [[0, 1], [0, 4], [1, 2], [1, 4]]), (2, [[0, 1], [0, 2], [0, 4], [1, 2], [1, 4], [2, 4]])],
)
def test_hash_pairs_truth_table(bits: int, expected: list[list[int]]) -> None:
    codes = np.array([0b00, 0b01, 0b11, 2**64 - 1, 0b00], np.uint64)
    assert hash_pairs(codes, bits).tolist() == expected


@pytest.mark.parametrize("parts", [3, 4, 6, 7])
@pytest.mark.parametrize("bits", [3, 7, 11])
def test_the_join_finds_what_comparing_all_with_all_finds(
    bits: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, 150, np.uint64)
    flips = [
        np.bitwise_xor.reduce(np.uint64(1) << random.choice(64, k, replace=False).astype(np.uint64))
        for k in range(1, 13)
    ]
    codes = np.concatenate([codes, codes[:12] ^ np.array(flips, np.uint64), codes[:9], codes[:9]])
    exhaustive = hash_pairs(codes, bits)
    monkeypatch.setattr(hamming, "_best_parts", lambda n, bits: parts)
    monkeypatch.setattr(hamming, "_CHUNK", 100)
    assert len(exhaustive) >= bits + 27
    assert hash_pairs(codes, bits).tolist() == exhaustive.tolist()


def test_all_alike_are_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_best_parts", lambda n, bits: 4)
    assert hash_pairs(np.full(30, 7, np.uint64), 11).tolist() == [[i, j] for i in range(30) for j in range(i + 1, 30)]


def test_no_and_few_hashes_have_no_pairs() -> None:
    assert [len(hash_pairs(np.arange(n, dtype=np.uint64) << np.uint64(60), 0)) for n in (0, 1, 2)] == [0, 0, 0]


def test_the_join_is_taken_where_it_is_faster() -> None:
    assert [hamming._best_parts(n, 11) is None for n in (10, 2_000, 1_000_000)] == [True, True, False]
    # within 24 bits, hashes have too many neighbours for the join to be faster
    assert hamming._best_parts(1_000_000, 24) is None


def test_many_thumbnails_are_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = find(crops(12, 10))
    monkeypatch.setattr(similarity, "_IN_MEMORY", 0)
    monkeypatch.setattr(similarity, "_PAIRS", 2)
    found = find(crops(12, 10))
    assert found.rows.tolist() == expected.rows.tolist() == [[0, 1]]
    assert found.correlation == pytest.approx(expected.correlation)


def test_components_are_chains_named_after_their_lowest_row() -> None:
    pairs = np.array([[4, 2], [2, 1], [5, 6]])
    assert components(8, pairs).tolist() == [0, 1, 1, 3, 1, 5, 5, 7]
    assert components(3, np.empty((0, 2), np.int64)).tolist() == [0, 1, 2]


def find(images: Images, correlation: float = 0.8) -> Pairs:
    return similar_pairs(images, blood_manifest(images, [0] * len(images)), bits=11, correlation=correlation)


def crops(down: int, right: int) -> Images:
    """Return two crops of one slide, the second `down` and `right` pixels from the first, and four other pictures."""
    slide = textures(classification(BLOOD.classes, (144, 144, 3)), 1, seed=3)[0]
    pair = [slide[48 + y : 96 + y, 48 + x : 96 + x] for y, x in ((0, 0), (down, right))]
    return np.concatenate([pair, textures(BLOOD, 4, seed=4)])


def test_a_relit_noisy_copy_is_found_in_place() -> None:
    images = textures(BLOOD, 6)
    noise = np.random.default_rng(1).normal(0, 3, images[2].shape)
    copy = (images[2] * 0.8 + 30 + noise).clip(0, 255).astype(np.uint8)
    pairs = find(np.concatenate([images, copy[None]]))
    assert pairs.rows.tolist() == [[2, 6]]
    assert pairs.shift.tolist() == [0]
    assert pairs.correlation[0] > 0.9


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2), (12, 10), (0, -20), (-20, 5)])
def test_shifted_crops_are_found_with_their_shift(down: int, right: int) -> None:
    pairs = find(crops(down, right))
    assert pairs.rows.tolist() == [[0, 1]]
    assert pairs.shift[0] == pytest.approx(max(abs(down), abs(right)) / 48)


def test_crops_with_little_in_common_are_no_pair() -> None:
    assert len(find(crops(24, 20)).rows) == 0


def test_flat_pictures_are_no_pair_of_anything() -> None:
    small = np.zeros((3, 16, 16), np.float32)
    assert len(verify(small, np.array([[0, 1], [1, 2]]), 0.5).rows) == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_pictures_are_no_special_case(n: int) -> None:
    assert len(find(textures(BLOOD, n)).rows) == 0


def test_histograms_are_shares_of_joint_levels() -> None:
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[1, :2] = (255, 0, 32)
    shares = histograms(images, np.array([1, 0]))
    assert shares.shape == (2, 512)
    assert shares[0].nonzero()[0].tolist() == [0, 7 * 64 + 0 * 8 + 1]
    assert shares[0].sum() == shares[1, 0] == 1


def test_nearest_by_hellinger_distance() -> None:
    shares = np.array([[1, 0], [0.5, 0.5], [0, 1], [1, 0]], np.float32)
    distances, rows = nearest(shares, 2)
    assert rows[0].tolist() == [3, 1]
    assert distances[0] == pytest.approx([0, (1 - 0.5**0.5) ** 0.5], abs=1e-4)
    assert set(rows[1]) <= {0, 2, 3}
    assert nearest(shares, 3)[0][2] == pytest.approx([(1 - 0.5**0.5) ** 0.5, 1, 1], abs=1e-4)


def test_approximate_search_finds_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).dirichlet(np.full(32, 0.2), 3000).astype(np.float32)
    points = np.concatenate([points, points[:20]])
    monkeypatch.setattr(colours, "_EXHAUSTIVE", 0)
    _, rows = nearest(points, 3)
    assert rows[:20, 0].tolist() == list(range(3000, 3020))
    assert not (rows == np.arange(len(points))[:, None]).any()


def crowd(*others: list[float]) -> NDArray[np.float32]:
    """Return ten equal grey histograms and the others, which are given by their first levels."""
    shares = np.zeros((10 + len(others), 32), np.float32)
    shares[:10, 20] = 1
    for row, values in enumerate(others, 10):
        shares[row, : len(values)] = values
    return shares


def test_isolation_of_the_odd_one() -> None:
    assert isolation(crowd([1.0]), channels=1, neighbours=3) == pytest.approx([0] * 10 + [1], abs=1e-3)


def test_a_cluster_of_its_own_is_not_isolated() -> None:
    assert isolation(crowd([1.0], [1.0], [1.0]), channels=1, neighbours=3)[10:] == pytest.approx([1, 1, 1])
    assert isolation(crowd([1.0], [1.0], [1.0], [1.0]), channels=1, neighbours=3)[10:] == pytest.approx(
        [0] * 4, abs=1e-3
    )


def test_too_few_pictures_have_no_odd_one() -> None:
    assert isolation(crowd([1.0])[-3:], channels=1, neighbours=3).tolist() == [0, 0, 0]


def test_a_slightly_brighter_picture_is_not_isolated() -> None:
    brighter = [0.0] * 21 + [1.0]  # one level above the others
    assert isolation(crowd(brighter), channels=1, neighbours=3)[10] == pytest.approx((1 - 0.5**0.5) ** 0.5, abs=1e-3)


def test_a_shifted_crop_is_found_among_many_alike() -> None:
    pictures = np.concatenate([crops(0, -20), textures(BLOOD, 60, seed=5)])
    assert find(pictures).rows.tolist() == [[0, 1]]


def test_a_relit_copy_is_found_among_many() -> None:
    pictures = textures(BLOOD, 60)
    relit = (pictures[2:3] * 0.5 + 90).astype(np.uint8)
    assert find(np.concatenate([pictures, relit])).rows.tolist() == [[2, 60]]
