//! The candidates of a pass, which all stay until the best ones have taken their hits: hits as a tree, because most candidates
//! begin alike, and of each end a score: 8 bytes a hit and 16 an end, where a whole candidate with its state has some 400.

use common::{Error, Result};

/// No hit before.
const NONE: u32 = u32::MAX;
/// Most hits of all candidates, 2 GiB of them. An event of full density has some ten million.
const MOST: usize = 1 << 28;

#[derive(Clone, Copy)]
struct Node {
    before: u32,
    hit: u32,
}

/// Hits of candidates, each with the one before.
#[derive(Default)]
pub(super) struct Grown {
    nodes: Vec<Node>,
}

impl Grown {
    /// A candidate of these hits.
    pub(super) fn start(&mut self, hits: &[u32]) -> Result<u32> {
        hits.iter().try_fold(NONE, |before, &hit| self.longer(before, hit))
    }

    /// The candidate that ends in `before` with one hit more.
    pub(super) fn longer(&mut self, before: u32, hit: u32) -> Result<u32> {
        if self.nodes.len() >= MOST {
            let problem = format!("the candidates of an event have {MOST} hits and more, which no memory should hold");
            return Err(Error::failed(problem).hint(
                "the network has hardly learned, or seeds are looked for too far: train longer, or lower `search.beam`, `search.branch`, `search.max_z0`",
            ));
        }
        self.nodes.push(Node { before, hit });
        Ok((self.nodes.len() - 1) as u32)
    }

    /// The last hit of a candidate.
    pub(super) fn last(&self, node: u32) -> u32 {
        self.nodes[node as usize].hit
    }

    /// The hits of a candidate from its first.
    pub(super) fn hits(&self, node: u32, into: &mut Vec<u32>) {
        into.clear();
        let mut at = node;
        while at != NONE {
            let node = self.nodes[at as usize];
            into.push(node.hit);
            at = node.before;
        }
        into.reverse();
    }
}

/// Where candidates end that are long and likely enough to be tracks.
#[derive(Default)]
pub(super) struct Ends {
    scored: Vec<(f64, u32)>,
}

impl Ends {
    pub(super) fn push(&mut self, score: f64, node: u32) {
        self.scored.push((score, node));
    }

    /// Ends by falling score; those of the same score by their hits.
    pub(super) fn best_first(mut self, grown: &Grown) -> impl Iterator<Item = u32> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        self.scored.sort_unstable_by(|a, b| {
            b.0.total_cmp(&a.0).then_with(|| {
                grown.hits(a.1, &mut left);
                grown.hits(b.1, &mut right);
                left.cmp(&right)
            })
        });
        self.scored.into_iter().map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_that_begin_alike_keep_their_hits_and_ties_go_by_them() {
        let mut grown = Grown::default();
        let start = grown.start(&[7, 3]).unwrap();
        let (far, near) = (grown.longer(start, 9).unwrap(), grown.longer(start, 2).unwrap());
        let longer = grown.longer(far, 1).unwrap();
        let mut hits = vec![0];
        grown.hits(longer, &mut hits);
        assert_eq!((hits.as_slice(), grown.last(longer)), ([7, 3, 9, 1].as_slice(), 1));
        let mut ends = Ends::default();
        for (score, node) in [(1.0, far), (1.0, near), (2.5, start), (1.0, longer)] {
            ends.push(score, node);
        }
        assert_eq!(ends.best_first(&grown).collect::<Vec<_>>(), [start, near, far, longer]);
    }
}
