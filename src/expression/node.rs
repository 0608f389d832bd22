//! The tree of an expression.

use std::{collections::BTreeSet, ops::Range};

use super::{scope, tools::Tool};
use crate::record::Value;

/// A part of an expression, and the bytes it was written in.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Constant(Value),
    Path(Vec<String>),
    List(Vec<Node>),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    In(Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    If {
        test: Box<Node>,
        then: Box<Node>,
        otherwise: Option<Box<Node>>,
    },
    Call(&'static Tool, Vec<Node>),
}

impl Node {
    /// The columns this part reads.
    pub(super) fn columns(&self) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        self.visit(&mut |node| {
            if let Kind::Path(path) = &node.kind
                && let Some(column) = scope::column_name(path)
            {
                columns.insert(column);
            }
        });
        columns
    }

    /// The maps it names.
    pub(super) fn maps(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.visit(&mut |node| {
            if let Kind::Call(tool, arguments) = &node.kind
                && tool.name == "map"
                && let Some(Kind::Constant(Value::Text(name))) =
                    arguments.get(1).map(|name| &name.kind)
            {
                names.insert(name.clone());
            }
        });
        names
    }

    /// How many parts stand inside one another.
    pub(super) fn depth(&self) -> usize {
        let mut deepest = 0;
        self.each_child(&mut |child| deepest = deepest.max(child.depth()));
        deepest + 1
    }

    /// Whether this part can make a link.
    pub(super) fn makes_links(&self) -> bool {
        let mut found = false;
        self.visit(&mut |node| {
            found |= matches!(&node.kind, Kind::Call(tool, _) if tool.name == "link");
        });
        found
    }

    fn visit(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        self.each_child(&mut |child| child.visit(see));
    }

    fn each_child(&self, see: &mut dyn FnMut(&Self)) {
        match &self.kind {
            Kind::Constant(_) | Kind::Path(_) => {}
            Kind::Not(inner) | Kind::Negate(inner) | Kind::IsNull(inner) => see(inner),
            Kind::Index(left, right)
            | Kind::And(left, right)
            | Kind::Or(left, right)
            | Kind::Binary(_, left, right)
            | Kind::In(left, right) => {
                see(left);
                see(right);
            }
            Kind::If {
                test,
                then,
                otherwise,
            } => {
                see(test);
                see(then);
                if let Some(otherwise) = otherwise {
                    see(otherwise);
                }
            }
            Kind::List(items) | Kind::Call(_, items) => items.iter().for_each(see),
        }
    }
}
