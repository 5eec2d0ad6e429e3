"""RFC 6962 proofs: that a record is in a log, and that a later log only added to an earlier one.

Whoever has the whole log needs none of them: `verifier.Tree` gives the root at every size. They are for whoever has
only checkpoints: a witness cosigns a head that is proven to contain the one it last saw, and a proof of inclusion shows
one record without the others.

The sizes are arguments that must come from signed checkpoints, never from whoever brought the proof: hashes don't bind
them, and a proof also verifies under some wrong sizes.

Belongs here: hashes over leaves. Doesn't: signatures, and what a leaf says.
"""

from __future__ import annotations

from collections.abc import Sequence

from research_to_prod.promotion.verifier import Tree, leaf_hash, node_hash


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree over ``leaves`` (RFC 6962, section 2.1)."""
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of a leaf, from the leaf up (RFC 6962, section 2.1.1).

    Raises
    ------
    IndexError
        When there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return [*inclusion_proof(left, index), root(right)]
    return [*inclusion_proof(right, index - split), root(left)]


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Return the proof that the tree over ``leaves`` contains the one over its first ``size`` (section 2.1.2).

    Raises
    ------
    IndexError
        When ``size`` is not between 1 and the number of leaves.
    """
    if not 1 <= size <= len(leaves):
        raise IndexError(f"no tree of size {size} within one of {len(leaves)}")
    return _subproof(leaves, size, known=True)


def _subproof(leaves: Sequence[bytes], size: int, *, known: bool = False) -> list[bytes]:
    if size == len(leaves):
        return [] if known else [root(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(leaves[:split], size, known=known), root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split), root(leaves[:split])]


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes) -> bool:
    """Whether ``proof`` shows ``leaf`` at ``index`` of the tree of ``size`` and ``tree_root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, position, last = leaf_hash(leaf), index, size - 1
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and node == tree_root


def extends(old_size: int, old_root: bytes, size: int, tree_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``size`` only adds to the one of ``old_size`` (RFC 9162, 2.1.4.2)."""
    if not 1 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == tree_root
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == tree_root


def _split(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1
