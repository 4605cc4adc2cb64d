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
    pub(super) fn lists<'i, 'p>(&'i self, path: &'p [u8]) -> Lists<'i, 'p> {
        let below = path.strip_prefix(b"/");
        Lists { index: self, node: below.and(self.nodes.first()), number: 0, below, is_at_end: false }
    }
}

/// The way of a path down the tree.
pub(super) struct Lists<'i, 'p> {
    index: &'i Index,
    /// Where it is. `None`: the tree has no more of the path.
    node: Option<&'i Node>,
    number: usize,
    /// The path below this node, without the slash between them. `None`: the path ends here.
    below: Option<&'p [u8]>,
    /// Whether only the rules with this very path are left.
    is_at_end: bool,
}

impl<'i> Lists<'i, '_> {
    /// The next list, which may be empty.
    fn step(&mut self) -> Option<Listed<'i>> {
        let node = self.node?;
        if self.is_at_end {
            self.node = None;
            return Some((2 * self.number + 1, &node.exact));
        }
        let listed = (2 * self.number, &*node.prefix);
        match self.below {
            None => self.is_at_end = true,
            Some(path) => {
                let (segment, below) = match path.iter().position(|byte| *byte == b'/') {
                    Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..)),
                    None => (path, None),
                };
                self.below = below;
                self.node = node.find(segment).ok().and_then(|number| {
                    self.number = number;
                    self.index.nodes.get(number)
                });
            }
        }
        Some(listed)
    }
}

impl<'i> Iterator for Lists<'i, '_> {
    type Item = Listed<'i>;

    fn next(&mut self) -> Option<Listed<'i>> {
        loop {
            let listed = self.step()?;
            if !listed.1.is_empty() {
                return Some(listed);
            }
        }
    }
}
