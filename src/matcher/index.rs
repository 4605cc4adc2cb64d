//! Finds the rules that a path may fall under, without looking at every rule.
//!
//! `path` and `prefix` are kept in a tree with a level for each segment. A path leads down the tree: the prefixes that
//! cover it are on the way, and its exact rules at the end. Regular expressions, and rules that don't look at the path,
//! are in a separate list.

use super::{PathMatch, Rule};

/// Rules by their indices in the list.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    nodes: Vec<Node>,
    /// The rules that have to be tried on every path, in order.
    pub(super) others: Vec<usize>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// The next node, by the next segment, sorted.
    children: Vec<(Box<[u8]>, usize)>,
    /// Rules with this very path, and with this prefix, in order.
    exact: Vec<usize>,
    prefix: Vec<usize>,
}

impl Node {
    /// The next node by this segment, or where it would be among the children.
    fn find(&self, segment: &[u8]) -> Result<usize, usize> {
        let place = self.children.binary_search_by(|(known, _)| (**known).cmp(segment))?;
        self.children.get(place).map(|(_, next)| *next).ok_or(place)
    }
}

/// The number of a list of rules, and the rules in order.
pub(super) type Listed<'i> = (usize, &'i [usize]);

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self { nodes: vec![Node::default()], others: Vec::new() };
        for (place, rule) in rules.iter().enumerate() {
            match &rule.matcher.path {
                PathMatch::Exact(path) => {
                    if let Some(node) = index.node(path) {
                        node.exact.push(place);
                    }
                }
                PathMatch::Prefix(prefix) => {
                    if let Some(node) = index.node(prefix) {
                        node.prefix.push(place);
                    }
                }
                PathMatch::Any | PathMatch::Regex(_) => index.others.push(place),
            }
        }
        index
    }

    /// The node of a path, made if there is none. The path is empty or begins with a slash.
    fn node(&mut self, path: &[u8]) -> Option<&mut Node> {
        let mut at = 0;
        for segment in path.split(|byte| *byte == b'/').skip(1) {
            let next = self.nodes.len();
            let node = self.nodes.get_mut(at)?;
            match node.find(segment) {
                Ok(known) => at = known,
                Err(place) => {
                    node.children.insert(place, (segment.into(), next));
                    self.nodes.push(Node::default());
                    at = next;
                }
            }
        }
        self.nodes.get_mut(at)
    }

    /// The rules by `path` and `prefix` that this path falls under, list by list.
    pub(super) fn lists<'i>(&'i self, path: &[u8]) -> impl Iterator<Item = Listed<'i>> {
        let mut segments = path.starts_with(b"/").then(|| path.split(|byte| *byte == b'/').skip(1).peekable());
        let mut at = 0;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at)?;
            let listed = (2 * at, &*node.prefix);
            let rest = segments.as_mut()?;
            match rest.next() {
                Some(segment) => {
                    match node.find(segment) {
                        Ok(next) => at = next,
                        Err(_) => segments = None,
                    }
                    Some([listed, (0, &[])])
                }
                None => {
                    segments = None;
                    Some([listed, (2 * at + 1, &*node.exact)])
                }
            }
        })
        .flatten()
        .filter(|(_, list)| !list.is_empty())
    }
}
