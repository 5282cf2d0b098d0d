//! B-trees of version 2: records of one length in order, by which links, attributes and chunks are found (file format
//! specification 3.0, III.A.2).

use super::bytes::{Bytes, block};

/// Signature, version and type of a node, and its checksum.
const HEAD: usize = 6;
const SUM: usize = 4;

/// What all nodes of a tree have in common.
struct Tree<'a> {
    content: &'a [u8],
    kind: u8,
    /// Bytes of a node at most, and of a record.
    node: usize,
    record: usize,
    /// Bytes of the number of a child's records.
    count: usize,
    /// Bytes of the number of all records below a child, by the child's height.
    below: Vec<usize>,
    /// Bytes that nodes may still take: those of a sound tree do not lie upon each other.
    left: usize,
    records: Vec<&'a [u8]>,
}

/// All records of the tree at an address, in its order. None where it is not sound, or none of this kind.
pub fn records(content: &[u8], address: u64, kind: u8) -> Option<Vec<&[u8]>> {
    let mut at = block(content, address, 38, b"BTHD")?;
    let (found, node, record, height) = (at.u8()?, at.u32()? as usize, usize::from(at.u16()?), at.u16()?);
    at.u16()?;
    let (root, here, total) = (at.u64()?, usize::from(at.u16()?), at.u64()?);
    if found != kind || record == 0 {
        return None;
    }
    if total == 0 {
        return (here == 0).then(Vec::new);
    }
    let most = node.checked_sub(HEAD + SUM)? / record;
    let mut tree = Tree {
        content,
        kind,
        node,
        record,
        count: bytes_of(most as u64),
        below: vec![0],
        left: content.len(),
        records: Vec::new(),
    };
    let mut all = most as u64;
    for child in 0..usize::from(height) {
        let pointer = tree.pointer(child);
        let most = (node.checked_sub(HEAD + SUM + pointer)? / (record + pointer)) as u64;
        all = most.checked_add(1)?.checked_mul(all)?.checked_add(most)?;
        tree.below.push(bytes_of(all));
    }
    tree.walk(root, here, usize::from(height))?;
    (tree.records.len() as u64 == total).then_some(tree.records)
}

/// Bytes that a number up to `most` takes.
fn bytes_of(most: u64) -> usize {
    most.max(1).ilog2() as usize / 8 + 1
}

impl Tree<'_> {
    /// Bytes by which a node names a child of some height.
    fn pointer(&self, child: usize) -> usize {
        8 + self.count + self.below[child]
    }

    /// Collects the records of a node that has `here` of its own, and of all below it.
    fn walk(&mut self, address: u64, here: usize, height: usize) -> Option<()> {
        let child = height.checked_sub(1);
        let pointers = child.map_or(0, |child| (here + 1) * self.pointer(child));
        let size = HEAD + here * self.record + pointers + SUM;
        self.left = self.left.checked_sub(size)?;
        let signature = if child.is_none() { b"BTLF" } else { b"BTIN" };
        let mut at = block(self.content, address, size, signature).filter(|_| size <= self.node)?;
        if at.u8()? != self.kind {
            return None;
        }
        let mut own = Bytes::of(at.take(here * self.record)?);
        let Some(child) = child else {
            self.records.extend((0..here).map_while(|_| own.take(self.record)));
            return Some(());
        };
        for place in 0..=here {
            let (address, count) = (at.u64()?, usize::try_from(at.number(self.count)?).ok()?);
            at.take(self.below[child])?;
            self.walk(address, count, child)?;
            if place < here {
                self.records.push(own.take(self.record)?);
            }
        }
        Some(())
    }
}
