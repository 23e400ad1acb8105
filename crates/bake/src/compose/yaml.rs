//! YAML text to nodes.
//!
//! `saphyr-parser` reads the text; this composes its events: anchors, merge keys, the types of plain
//! scalars as Go's YAML reads them. Aliases are copied, up to a bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::error::BakeError;
use crate::number;
use crate::place::{Place, without_mark};

/// The most nodes of a file, aliases counted as what they stand for.
const MOST: usize = 200_000;

/// How deep nodes may be inside of each other.
const DEEPEST: usize = 64;

/// A node with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Yaml,
    pub(crate) place: Place,
    pub(crate) mark: Mark,
}

/// How a node of a later file meets that of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is merged.
    None,
    /// `!override`: it replaces the earlier one.
    Override,
    /// `!reset`: neither is there.
    Reset,
}

/// The value of a node.
#[derive(Debug, Clone)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    /// A number, as text in Go's form.
    Number(String),
    String(String),
    List(Vec<Node>),
    /// The pairs in the order of the text, each key once.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Returns a node in the place of this one.
    pub(crate) fn like(&self, value: Yaml) -> Self {
        Self { value, place: self.place.clone(), mark: Mark::None }
    }

    /// Returns how many nodes it is, with those inside of it.
    pub(crate) fn count(&self) -> usize {
        1 + match &self.value {
            Yaml::List(nodes) => nodes.iter().map(Self::count).sum(),
            Yaml::Map(pairs) => pairs.iter().map(|(_, node)| node.count()).sum(),
            _ => 0,
        }
    }

    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Yaml::Map(pairs) => pairs.iter().find(|(known, _)| known == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Returns the value of a key, to change it.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Yaml::Map(pairs) = &mut self.value else { return None };
        pairs.iter_mut().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// Returns a scalar as text; empty for null.
    pub(crate) fn as_text(&self) -> Option<String> {
        match &self.value {
            Yaml::Null => Some(String::new()),
            Yaml::Bool(value) => Some(value.to_string()),
            Yaml::Number(text) | Yaml::String(text) => Some(text.clone()),
            Yaml::List(_) | Yaml::Map(_) => None,
        }
    }

    /// Returns an error of this place.
    pub(crate) fn fail(&self, reason: impl Into<String>) -> BakeError {
        BakeError::invalid(&self.place, reason)
    }
}

/// Reads the documents of a file: at least one, which is null if the file is empty.
pub(crate) fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Node>, BakeError> {
    let text = without_mark(text);
    let mut composer =
        Composer { file, parser: Parser::new_from_str(text), anchors: BTreeMap::new(), count: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd => break,
            // Anchors are those of one document.
            Event::DocumentStart(_) => composer.anchors.clear(),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(composer.node(event, span, 0)?),
        }
    }
    if documents.is_empty() {
        let place = Place::new(file, 1);
        documents.push(Node { value: Yaml::Null, place, mark: Mark::None });
    }
    Ok(documents)
}

struct Composer<'a> {
    file: &'a Arc<str>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// The nodes that aliases stand for, with how many nodes each is.
    anchors: BTreeMap<usize, (Node, usize)>,
    count: usize,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), BakeError> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(BakeError::Syntax {
                place: Place::new(self.file, error.marker().line().max(1)),
                message: format!("column {}: not YAML: {}", error.marker().col() + 1, error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, BakeError> {
        let place = Place::new(self.file, span.start.line().max(1));
        let before = self.count;
        self.count += 1;
        if self.count > MOST || depth > DEEPEST {
            return Err(BakeError::invalid(&place, "the file is too large or too deep"));
        }
        let (value, tag, anchor) = match event {
            Event::Alias(anchor) => {
                let unknown =
                    || BakeError::invalid(&place, "the alias stands inside of its anchor");
                let (node, size) = self.anchors.get(&anchor).ok_or_else(unknown)?;
                self.count += size;
                return Ok(node.clone());
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag
                    .as_ref()
                    .is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let value = match style {
                    ScalarStyle::Plain if !is_text => plain(&text),
                    _ => Yaml::String(text.into_owned()),
                };
                (value, tag, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => list.push(self.node(event, span, depth + 1)?),
                    }
                }
                (Yaml::List(list), tag, anchor)
            }
            Event::MappingStart(anchor, tag) => (self.mapping(depth)?, tag, anchor),
            _ => (Yaml::Null, None, 0),
        };
        let mark = mark(tag.as_deref()).map_err(|reason| BakeError::invalid(&place, reason))?;
        let node = Node { value, place, mark };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.count - before));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Yaml, BakeError> {
        let mut pairs: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span, depth + 1)?;
            let name = key.as_text().ok_or_else(|| key.fail("a key is a string"))?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if name == "<<" {
                match value.value {
                    Yaml::List(nodes) => merged.extend(nodes),
                    _ => merged.push(value),
                }
            } else if pairs.iter().any(|(known, _)| *known == name) {
                return Err(key.fail(format!("the key {name} is there twice")));
            } else {
                pairs.push((name, value));
            }
        }
        for node in merged {
            let Yaml::Map(more) = node.value else {
                return Err(BakeError::invalid(&node.place, "<< takes mappings"));
            };
            for (name, value) in more {
                if !pairs.iter().any(|(known, _)| *known == name) {
                    pairs.push((name, value));
                }
            }
        }
        Ok(Yaml::Map(pairs))
    }
}

fn mark(tag: Option<&Tag>) -> Result<Mark, String> {
    match tag {
        None => Ok(Mark::None),
        Some(tag) if tag.is_yaml_core_schema() => Ok(Mark::None),
        Some(tag) => match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => Ok(Mark::Reset),
            ("!", "override") => Ok(Mark::Override),
            ("!", "") => Ok(Mark::None),
            (handle, suffix) => Err(format!("the tag {handle}{suffix} has no meaning here")),
        },
    }
}

/// Returns what a scalar without quotes stands for.
fn plain(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Yaml::Null,
        "true" | "True" | "TRUE" => return Yaml::Bool(true),
        "false" | "False" | "FALSE" => return Yaml::Bool(false),
        _ => {}
    }
    match integer(text).or_else(|| decimal(text)) {
        Some(number) => Yaml::Number(number),
        None => Yaml::String(text.to_owned()),
    }
}

fn integer(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "");
    let (digits, base) = match digits.as_bytes() {
        [b'0', b'x', ..] => (&digits[2..], 16),
        [b'0', b'o', ..] => (&digits[2..], 8),
        [b'0', b'b', ..] => (&digits[2..], 2),
        [b'0', b'0'..=b'7', ..] => (&digits[1..], 8),
        _ => (&digits[..], 10),
    };
    let is_number = digits.bytes().next()?.is_ascii_hexdigit();
    let value = is_number.then(|| u64::from_str_radix(digits, base).ok()).flatten()?;
    Some(format!("{sign}{value}"))
}

fn decimal(text: &str) -> Option<String> {
    let first = text.trim_start_matches(['-', '+']).bytes().next()?;
    let starts = first.is_ascii_digit() || first == b'.';
    let value = starts.then(|| number::parse(text)).flatten()?;
    Some(number::text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Node, BakeError> {
        Ok(documents(&Arc::from("f.yml"), text)?.remove(0))
    }

    #[test]
    fn reads_scalars_as_go_does() {
        for (text, expected) in [
            ("1.50", "1.5"),
            ("0x10", "16"),
            ("010", "8"),
            ("1_000", "1000"),
            ("yes", "yes"),
            ("True", "true"),
            ("1.2.3", "1.2.3"),
            ("'010'", "010"),
            ("~", ""),
            ("08", "8"),
            ("1e3", "1000"),
            ("!!str 1.50", "1.50"),
        ] {
            let node = read(&format!("a: {text}")).unwrap();
            assert_eq!(node.get("a").unwrap().as_text().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn merges_and_bounds_aliases() {
        let node = read("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n").unwrap();
        let y = node.get("y").unwrap();
        let text = |key| y.get(key).unwrap().as_text().unwrap();
        assert_eq!((text("a"), text("b")), ("1".to_owned(), "3".to_owned()));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let last = n - 1;
            let aliases = vec![format!("*a{last}"); 9].join(", ");
            bomb += &format!("a{n}: &a{n} [{aliases}]\n");
        }
        assert!(read(&bomb).unwrap_err().to_string().contains("too large"));
        assert!(read(&"[".repeat(5000)).is_err());
        let twice = read("a: 1\nb: 2\na: 3\n").unwrap_err().to_string();
        assert_eq!(twice, "f.yml:3: the key a is there twice");
        assert!(read("a: [1\n").unwrap_err().to_string().starts_with("f.yml:"));
    }

    #[test]
    fn reads_all_documents() {
        let text = "a: &a 1\n---\nb: 2\n...\n---\n# nothing\n---\nc: 3\n";
        let all = documents(&Arc::from("f.yml"), text).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[3].get("c").unwrap().place.line, 8);
        assert!(documents(&Arc::from("f.yml"), "a: &a 1\n---\nb: *a\n").is_err());
        assert_eq!(documents(&Arc::from("f.yml"), "").unwrap().len(), 1);
    }
}
