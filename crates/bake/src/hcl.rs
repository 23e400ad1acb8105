//! HCL text to syntax.

use std::ops::Range;
use std::sync::Arc;

use hcl_edit::Span as _;
use hcl_edit::expr::{
    BinaryOperator, Expression, ForExpr, FuncCall, ObjectKey, TraversalOperator, UnaryOperator,
};
use hcl_edit::structure::{self, Structure};
use hcl_edit::template::{Directive, Element, HeredocTemplate, Strip, Template};

use crate::error::BakeError;
use crate::number;
use crate::place::{Lines, Place};
use crate::syntax::{Attribute, Binary, Block, Body, Expr, For, Kind, Part, Step, Unary};
use crate::value::Value;

/// Reads a file in HCL's own form.
pub(crate) fn body(file: &Arc<str>, text: &str) -> Result<Body, BakeError> {
    let parsed = hcl_edit::parser::parse_body(text).map_err(|error| BakeError::Syntax {
        place: Place::new(file, error.location().line()),
        message: format!("column {}: {}", error.location().column(), error.message()),
    })?;
    let lines = Lines::of(file, text);
    Converter { text, place: &|range| lines.at(range.start), lost: None }.body(&parsed)
}

/// Reads a text with `${expressions}`, as it is in JSON.
pub(crate) fn template(text: &str, place: &Place) -> Result<Expr, BakeError> {
    if !text.contains("${") && !text.contains("%{") {
        let kind = Kind::Literal(Value::text(text));
        return Ok(Expr { kind, place: place.clone() });
    }
    let parsed = hcl_edit::parser::parse_template(text).map_err(|error| BakeError::Syntax {
        place: place.clone(),
        message: error.message().to_owned(),
    })?;
    let converter = Converter { text: "", place: &|_| place.clone(), lost: None };
    Ok(Expr { kind: unwrapped(converter.parts(&parsed)?), place: place.clone() })
}

/// Makes a syntax of ours of the syntax of the parser.
struct Converter<'a> {
    /// The text that the places of heredocs are in; empty if that is not at hand.
    text: &'a str,
    /// In a heredoc, how many blanks each line has lost.
    lost: Option<usize>,
    place: &'a dyn Fn(Range<usize>) -> Place,
}

impl Converter<'_> {
    fn at(&self, range: Option<Range<usize>>) -> Place {
        (self.place)(range.unwrap_or(0..0))
    }

    fn body(&self, body: &structure::Body) -> Result<Body, BakeError> {
        let mut converted = Body::default();
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => converted.attributes.push(Attribute {
                    name: attribute.key.to_string(),
                    value: self.expr(&attribute.value)?,
                }),
                Structure::Block(block) => converted.blocks.push(Block {
                    kind: block.ident.to_string(),
                    labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
                    body: self.body(&block.body)?,
                    place: self.at(block.ident.span()),
                }),
            }
        }
        Ok(converted)
    }

    fn exprs<'e>(
        &self,
        exprs: impl IntoIterator<Item = &'e Expression>,
    ) -> Result<Vec<Expr>, BakeError> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn boxed(&self, expr: &Expression) -> Result<Box<Expr>, BakeError> {
        Ok(Box::new(self.expr(expr)?))
    }

    fn expr(&self, expr: &Expression) -> Result<Expr, BakeError> {
        let place = self.at(expr.span());
        let kind = match expr {
            Expression::Null(_) => Kind::Literal(Value::Null),
            Expression::Bool(value) => Kind::Literal(Value::Bool(*value.value())),
            Expression::Number(value) => {
                let text = value.value().to_string();
                let long = || format!("the number {text} has more digits than are kept");
                let read = number::parse(&text);
                let read = read.ok_or_else(|| BakeError::invalid(&place, long()))?;
                Kind::Literal(Value::Number(read))
            }
            Expression::String(text) => Kind::Literal(Value::text(text.value().as_str())),
            Expression::Array(array) => Kind::Tuple(self.exprs(array)?),
            Expression::Object(object) => {
                let pairs = object
                    .iter()
                    .map(|(key, value)| Ok((self.key(key, &place)?, self.expr(value.expr())?)));
                Kind::Object(pairs.collect::<Result<_, BakeError>>()?)
            }
            Expression::StringTemplate(template) => unwrapped(self.parts(template)?),
            Expression::HeredocTemplate(heredoc) => Kind::Template(self.heredoc(heredoc, &place)?),
            Expression::Parenthesis(inner) => return self.expr(inner.inner()),
            Expression::Variable(name) => Kind::Variable(name.to_string()),
            Expression::Conditional(conditional) => Kind::Conditional(Box::new([
                self.expr(&conditional.cond_expr)?,
                self.expr(&conditional.true_expr)?,
                self.expr(&conditional.false_expr)?,
            ])),
            Expression::FuncCall(call) => self.call(call)?,
            Expression::Traversal(traversal) => Kind::Traversal {
                base: self.boxed(&traversal.expr)?,
                steps: traversal
                    .operators
                    .iter()
                    .map(|step| self.step(step.value(), &place))
                    .collect::<Result<_, _>>()?,
            },
            Expression::UnaryOp(op) if *op.operator.value() == UnaryOperator::Neg => {
                Kind::Unary(Unary::Negate, self.boxed(&op.expr)?)
            }
            Expression::UnaryOp(op) => Kind::Unary(Unary::Not, self.boxed(&op.expr)?),
            Expression::BinaryOp(binary) => Kind::Binary(
                operator(*binary.operator.value()),
                Box::new([self.expr(&binary.lhs_expr)?, self.expr(&binary.rhs_expr)?]),
            ),
            Expression::ForExpr(expr) => self.for_expr(expr)?,
        };
        Ok(Expr { kind, place })
    }

    fn call(&self, call: &FuncCall) -> Result<Kind, BakeError> {
        let namespace = call.name.namespace.iter().map(|part| format!("{}::", part.as_str()));
        let name = namespace.collect::<String>() + call.name.name.as_str();
        let (args, is_spread) = (self.exprs(&call.args)?, call.args.expand_final());
        Ok(Kind::Call { name, args, is_spread })
    }

    fn for_expr(&self, expr: &ForExpr) -> Result<Kind, BakeError> {
        Ok(Kind::For(Box::new(For {
            key_name: expr.intro.key_var.as_ref().map(ToString::to_string),
            value_name: expr.intro.value_var.to_string(),
            collection: self.expr(&expr.intro.collection_expr)?,
            key: expr.key_expr.as_ref().map(|key| self.expr(key)).transpose()?,
            value: self.expr(&expr.value_expr)?,
            is_grouped: expr.grouping,
            condition: expr.cond.as_ref().map(|cond| self.expr(&cond.expr)).transpose()?,
        })))
    }

    fn key(&self, key: &ObjectKey, place: &Place) -> Result<Expr, BakeError> {
        match key {
            ObjectKey::Ident(name) => {
                let kind = Kind::Literal(Value::text(name.as_str()));
                Ok(Expr { kind, place: place.clone() })
            }
            // A variable in parentheses is evaluated; a bare one is a name.
            ObjectKey::Expression(Expression::Variable(name)) => {
                let kind = Kind::Literal(Value::text(name.as_str()));
                Ok(Expr { kind, place: self.at(name.span()) })
            }
            ObjectKey::Expression(expr) => self.expr(expr),
        }
    }

    fn step(&self, step: &TraversalOperator, place: &Place) -> Result<Step, BakeError> {
        Ok(match step {
            TraversalOperator::AttrSplat(_) => Step::AttributeSplat,
            TraversalOperator::FullSplat(_) => Step::FullSplat,
            TraversalOperator::GetAttr(name) => Step::Attribute(name.to_string()),
            TraversalOperator::Index(index) => Step::Index(self.expr(index)?),
            TraversalOperator::LegacyIndex(index) => {
                let index = i64::try_from(*index.value()).unwrap_or(i64::MAX);
                let kind = Kind::Literal(Value::Number(number::from_integer(index)));
                Step::Index(Expr { kind, place: place.clone() })
            }
        })
    }

    /// Reads a heredoc. The parser drops the indentation of `<<-` by text between expressions, and takes
    /// letters away where a line has none; this drops it by lines.
    fn heredoc(&self, heredoc: &HeredocTemplate, place: &Place) -> Result<Vec<Part>, BakeError> {
        let raw = heredoc.span().and_then(|range| self.text.get(range)).unwrap_or_default();
        let (head, rest) = raw.split_once('\n').unwrap_or_default();
        let mut texts = rest.lines().map(str::trim);
        // The parser takes the end of an empty heredoc for text.
        if texts.next() == Some(heredoc.delimiter.as_str()) && texts.next().is_some() {
            return Err(BakeError::invalid(place, "an empty heredoc is not read; write \"\""));
        }
        if !head.starts_with("<<-") {
            return Self { lost: Some(0), ..*self }.parts(&heredoc.template);
        }
        let mut lines: Vec<&str> = rest.split_inclusive('\n').collect();
        if lines.last().is_some_and(|line| line.trim() == heredoc.delimiter.as_str()) {
            lines.pop();
        }
        let blanks = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let full = lines.iter().filter(|line| !line.trim().is_empty());
        let lost = full.map(blanks).min().unwrap_or(0);
        let text: String = lines.iter().map(|line| &line[blanks(line).min(lost)..]).collect();
        let parsed = hcl_edit::parser::parse_template(&text).map_err(|error| {
            BakeError::Syntax { place: place.clone(), message: error.message().to_owned() }
        })?;
        let at = |_| place.clone();
        Converter { text: "", place: &at, lost: Some(lost) }.parts(&parsed)
    }

    fn parts(&self, template: &Template) -> Result<Vec<Part>, BakeError> {
        let mut parts = Parts { list: Vec::new(), strips_next: false, lost: self.lost };
        for element in template {
            match element {
                Element::Literal(text) => parts.text(text.value()),
                Element::Interpolation(value) => {
                    let part = Part::Value(self.expr(&value.expr)?);
                    parts.push(part, value.strip, value.strip);
                }
                Element::Directive(directive) => match &**directive {
                    Directive::If(directive) => {
                        let (first, last) = (&directive.if_expr, &directive.endif_expr);
                        let middle = directive.else_expr.as_ref();
                        let end_of_then = middle.map_or(last.strip, |middle| middle.strip);
                        let then = self.parts(&first.template)?;
                        let otherwise = middle.map(|middle| {
                            let parts = self.parts(&middle.template)?;
                            Ok(stripped(parts, middle.strip, last.strip, self.lost))
                        });
                        let part = Part::If {
                            condition: self.expr(&first.cond_expr)?,
                            then: stripped(then, first.strip, end_of_then, self.lost),
                            otherwise: otherwise.transpose()?.unwrap_or_default(),
                        };
                        parts.push(part, first.strip, last.strip);
                    }
                    Directive::For(directive) => {
                        let (first, last) = (&directive.for_expr, &directive.endfor_expr);
                        let body = self.parts(&first.template)?;
                        let part = Part::For {
                            key_name: first.key_var.as_ref().map(ToString::to_string),
                            value_name: first.value_var.to_string(),
                            collection: self.expr(&first.collection_expr)?,
                            body: stripped(body, first.strip, last.strip, self.lost),
                        };
                        parts.push(part, first.strip, last.strip);
                    }
                },
            }
        }
        Ok(parts.list)
    }
}

/// The parts of a template, with `~` at work.
struct Parts {
    list: Vec<Part>,
    /// Whether blanks at the begin of the next text are dropped.
    strips_next: bool,
    /// In a heredoc, how many blanks each line has lost.
    lost: Option<usize>,
}

impl Parts {
    fn text(&mut self, text: &str) {
        let text = match self.strips_next {
            true => without_start(text, self.lost),
            false => text.to_owned(),
        };
        self.strips_next = false;
        self.list.push(Part::Text(text));
    }

    fn push(&mut self, part: Part, first: Strip, last: Strip) {
        if matches!(first, Strip::Start | Strip::Both)
            && let Some(Part::Text(text)) = self.list.last_mut()
        {
            text.truncate(end_without_blanks(text, self.lost));
        }
        self.strips_next = matches!(last, Strip::End | Strip::Both);
        self.list.push(part);
    }
}

/// Drops the blanks that a text begins with. In a heredoc these are the ones of its line, with the line's
/// end; the next line then keeps its indentation, as in HCL.
fn without_start(text: &str, lost: Option<usize>) -> String {
    match (lost, text.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')) {
        (Some(lost), Some(rest)) => " ".repeat(lost) + rest,
        (Some(_), None) => text.trim_start_matches([' ', '\t']).to_owned(),
        (None, _) => text.trim_start().to_owned(),
    }
}

/// Returns the length of a text without the blanks at its end; in a heredoc, without those of its last
/// line.
fn end_without_blanks(text: &str, lost: Option<usize>) -> usize {
    match lost {
        Some(_) => text.trim_end_matches([' ', '\t']).len(),
        None => text.trim_end().len(),
    }
}

/// Drops the blanks inside of a directive, next to its markers.
fn stripped(mut parts: Vec<Part>, first: Strip, last: Strip, lost: Option<usize>) -> Vec<Part> {
    if matches!(first, Strip::End | Strip::Both)
        && let Some(Part::Text(text)) = parts.first_mut()
    {
        *text = without_start(text, lost);
    }
    if matches!(last, Strip::Start | Strip::Both)
        && let Some(Part::Text(text)) = parts.last_mut()
    {
        text.truncate(end_without_blanks(text, lost));
    }
    parts
}

/// Returns a template, or the expression itself if there is nothing beside it: its value stays what
/// it is.
fn unwrapped(mut parts: Vec<Part>) -> Kind {
    match &mut parts[..] {
        [Part::Value(expr)] => {
            let place = expr.place.clone();
            std::mem::replace(expr, Expr { kind: Kind::Literal(Value::Null), place }).kind
        }
        _ => Kind::Template(parts),
    }
}

fn operator(operator: BinaryOperator) -> Binary {
    match operator {
        BinaryOperator::Eq => Binary::Equal,
        BinaryOperator::NotEq => Binary::NotEqual,
        BinaryOperator::LessEq => Binary::LessOrEqual,
        BinaryOperator::GreaterEq => Binary::GreaterOrEqual,
        BinaryOperator::Less => Binary::Less,
        BinaryOperator::Greater => Binary::Greater,
        BinaryOperator::Plus => Binary::Add,
        BinaryOperator::Minus => Binary::Subtract,
        BinaryOperator::Mul => Binary::Multiply,
        BinaryOperator::Div => Binary::Divide,
        BinaryOperator::Mod => Binary::Remainder,
        BinaryOperator::And => Binary::And,
        BinaryOperator::Or => Binary::Or,
    }
}
