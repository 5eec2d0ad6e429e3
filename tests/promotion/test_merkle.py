"""RFC 6962 by its published vectors, and by a recursive oracle for all trees of up to 33 leaves."""

import hashlib

import pytest

from research_to_prod.promotion.merkle import consistency_proof, extends, includes, inclusion_proof, root
from research_to_prod.promotion.verifier import Tree

# The leaves, roots and proofs of the test data that the Certificate Transparency implementations share.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = [(m, n) for n in range(1, 34) for m in range(1, n + 1)]


def leaves_of(size):
    return [bytes([number]) for number in range(size)]


def oracle(leaves):
    """The definition, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = max(2**k for k in range(10) if 2**k < len(leaves))
    return hashlib.sha256(b"\x01" + oracle(leaves[:split]) + oracle(leaves[split:])).digest()


ROOT_OF = [oracle(leaves_of(size)) for size in range(35)]


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size):
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def test_the_published_proofs():
    assert [node.hex()[:8] for node in inclusion_proof(LEAVES[:8], 0)] == ["96a296d2", "5f083f0a", "6b47aaf2"]
    assert [node.hex()[:8] for node in inclusion_proof(LEAVES[:8], 5)] == ["bc1a0643", "ca854ea1", "d37ee418"]
    assert [node.hex()[:8] for node in inclusion_proof(LEAVES[:3], 2)] == ["fac54203"]
    assert [node.hex()[:8] for node in consistency_proof(LEAVES[:8], 6)] == ["0ebc5d34", "ca854ea1", "d37ee418"]
    assert [node.hex()[:8] for node in consistency_proof(LEAVES[:5], 2)] == ["5f083f0a", "bc1a0643"]


@pytest.mark.parametrize("size", range(34))
def test_the_growing_tree_has_the_root_of_the_definition_at_every_size(size):
    tree = Tree()
    for leaf in leaves_of(size):
        tree.append(leaf)
    assert (tree.size, tree.root()) == (size, ROOT_OF[size])


def test_every_proof_of_inclusion_verifies_and_of_another_leaf_place_or_root_none_does():
    for m, n in SIZES:
        leaves, index = leaves_of(n), m - 1
        proof = inclusion_proof(leaves, index)
        assert includes(leaves[index], index, n, proof, ROOT_OF[n])
        assert not includes(b"another", index, n, proof, ROOT_OF[n])
        assert not includes(leaves[index], index, n, proof, ROOT_OF[n + 1])
        assert not any(includes(leaves[index], other, n, proof, ROOT_OF[n]) for other in range(n) if other != index)
        for wrong in ([*proof, ROOT_OF[1]], proof[1:], proof[:-1], [ROOT_OF[1], *proof[1:]]):
            assert wrong == proof or not includes(leaves[index], index, n, wrong, ROOT_OF[n])
        assert not includes(leaves[index], n, n, proof, ROOT_OF[n])


def test_every_proof_of_consistency_verifies_and_of_another_tree_none_does():
    for m, n in SIZES:
        proof = consistency_proof(leaves_of(n), m)
        assert extends(m, ROOT_OF[m], n, ROOT_OF[n], proof)
        other = oracle([*leaves_of(n - 1), b"another"])
        assert not extends(m, ROOT_OF[m], n, other, proof)
        assert not extends(m, other, n, ROOT_OF[n], proof)
        for wrong in ([*proof, ROOT_OF[1]], proof[1:], proof[:-1], []):
            assert wrong == proof or not extends(m, ROOT_OF[m], n, ROOT_OF[n], wrong)


def test_a_log_that_rewrote_an_old_leaf_has_no_proof_that_verifies():
    for m, n in SIZES:
        rewritten = [b"another", *leaves_of(n)[1:]]
        assert not extends(m, ROOT_OF[m], n, oracle(rewritten), consistency_proof(rewritten, m))


def test_a_proof_does_not_bind_the_size_so_sizes_come_from_signed_checkpoints():
    # The reason for the rule: this proof of 1 in 3 is also accepted as one of 1 in 4, with the root of 3.
    proof = consistency_proof(leaves_of(3), 1)
    assert extends(1, ROOT_OF[1], 3, ROOT_OF[3], proof)
    assert extends(1, ROOT_OF[1], 4, ROOT_OF[3], proof)
    # With the size and the root of one checkpoint it is not.
    assert not extends(1, ROOT_OF[1], 4, ROOT_OF[4], proof)


@pytest.mark.parametrize("index", [-1, 3])
def test_what_is_not_there_has_no_proof(index):
    with pytest.raises(IndexError, match="no leaf"):
        inclusion_proof(leaves_of(3), index)
    with pytest.raises(IndexError, match="no tree of size"):
        consistency_proof(leaves_of(3), index + 1 if index > 0 else 0)
    assert not extends(4, ROOT_OF[4], 3, ROOT_OF[3], [])
    assert not extends(0, ROOT_OF[0], 3, ROOT_OF[3], [])
