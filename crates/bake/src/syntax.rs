//! The syntax of HCL and of its JSON form: bodies and expressions.

use crate::place::Place;
use crate::value::Value;

/// The content of a file or of a block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    /// `name = expression`, in the order of the text.
    pub(crate) attributes: Vec<Attribute>,
    /// Blocks, in the order of the text.
    pub(crate) blocks: Vec<Block>,
}

impl Body {
    /// Returns the expression of an attribute; the last one of a name counts.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().rfind(|attribute| attribute.name == name).map(|found| &found.value)
    }
}

/// `name = expression`.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: Expr,
}

/// `kind "label" { .. }`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) labels: Vec<String>,
    pub(crate) body: Body,
    pub(crate) place: Place,
}

/// An expression and the place where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) place: Place,
}

/// The kinds of expressions.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A constant.
    Literal(Value),
    /// `[a, b]`.
    Tuple(Vec<Expr>),
    /// `{a = b}`; a name as key is a constant.
    Object(Vec<(Expr, Expr)>),
    /// `"text ${value}"`.
    Template(Vec<Part>),
    /// `name`.
    Variable(String),
    /// `name(a, b...)`.
    Call { name: String, args: Vec<Expr>, is_spread: bool },
    /// `a.b`, `a[b]`, `a.*`, `a[*]`, one after the other.
    Traversal { base: Box<Expr>, steps: Vec<Step> },
    /// `a ? b : c`.
    Conditional(Box<[Expr; 3]>),
    /// `!a`, `-a`.
    Unary(Unary, Box<Expr>),
    /// `a + b` and the like.
    Binary(Binary, Box<[Expr; 2]>),
    /// `[for k, v in a : b if c]`, `{for k, v in a : b => c}`.
    For(Box<For>),
}

/// A step of a traversal.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// `.name`.
    Attribute(String),
    /// `[index]`, `.0`.
    Index(Expr),
    /// `.*`: the attribute steps that follow are done for each element.
    AttributeSplat,
    /// `[*]`: all steps that follow are done for each element.
    FullSplat,
}

/// An operator with one operand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unary {
    Negate,
    Not,
}

/// An operator with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
}

/// A `for` expression.
#[derive(Debug, Clone)]
pub(crate) struct For {
    pub(crate) key_name: Option<String>,
    pub(crate) value_name: String,
    pub(crate) collection: Expr,
    /// The key of the result, which makes it an object.
    pub(crate) key: Option<Expr>,
    pub(crate) value: Expr,
    /// Whether the values of equal keys become a list: `...`.
    pub(crate) is_grouped: bool,
    pub(crate) condition: Option<Expr>,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Text, as it is.
    Text(String),
    /// `${expression}`.
    Value(Expr),
    /// `%{if a}..%{else}..%{endif}`.
    If { condition: Expr, then: Vec<Part>, otherwise: Vec<Part> },
    /// `%{for k, v in a}..%{endfor}`.
    For { key_name: Option<String>, value_name: String, collection: Expr, body: Vec<Part> },
}
