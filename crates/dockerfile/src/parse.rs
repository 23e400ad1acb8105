//! From a file to its syntax tree.

use std::sync::Arc;

use crate::convert;
use crate::error::{ParseError, ParseErrorKind, ParseErrors};
use crate::heredoc::Opening;
use crate::instruction::{Arg, Comment, Directive, Dockerfile, From, Heredoc, Instruction, Stage};
use crate::keyword::Keyword;
use crate::line::Line;
use crate::lines::{Item, Joined, Lines};
use crate::span::{Span, Spanned};

/// Reads a Dockerfile. `file` is the name to show for it.
///
/// A byte order mark and CRLF line ends are accepted. All checks that do not depend on the values
/// of variables are made, in all stages, built or not.
///
/// **Errors**: all errors, not only the first; of a file that is no Dockerfile at all, one.
///
/// **Source**: Dockerfile reference.
pub fn parse(file: &str, text: &[u8]) -> Result<Dockerfile, ParseErrors> {
    let mut parser = Parser {
        file: file.into(),
        lines: Lines::new(text),
        seen_from: false,
        directives: Vec::new(),
        globals: Vec::new(),
        stages: Vec::new(),
        empty_lines: Vec::new(),
        comments: Vec::new(),
        errors: Vec::new(),
    };
    while parser.errors.len() < ParseErrors::LIMIT
        && let Some((first, item)) = parser.lines.next_item()
    {
        parser.item(first, item);
    }
    parser.finish()
}

/// Reads a trigger that the config of a base image holds; `span` is the FROM that names the image.
/// The escape character of triggers is the backslash, whatever the file says.
///
/// **Errors**: the trigger is not exactly one instruction, may not be a trigger, or is wrong in
/// itself.
pub fn parse_onbuild(text: &str, span: &Span) -> Result<Instruction, ParseError> {
    let located = |kind| ParseError { kind, span: span.clone() };
    let mut lines = Lines::new(text.as_bytes());
    let instruction = match lines.next_item() {
        Some((_, Ok(Item::Instruction(joined)))) => {
            let (line, heredocs) = read_line(&joined.text, &mut lines).map_err(located)?;
            convert::trigger(&line, heredocs).map_err(located)?
        }
        Some((_, Err(kind))) => return Err(located(kind)),
        Some((_, Ok(Item::Directive(_)))) | None => {
            return Err(located(ParseErrorKind::NotOneInstruction));
        }
    };
    match lines.next_item() {
        None => Ok(instruction),
        Some(_) => Err(located(ParseErrorKind::NotOneInstruction)),
    }
}

/// Takes a line apart and reads the heredocs below it.
///
/// Bodies are read even if the instruction is misspelled, so that their lines are not taken for
/// instructions.
fn read_line<'t>(
    text: &'t str,
    lines: &mut Lines<'_>,
) -> Result<(Line<'t>, Vec<Heredoc>), ParseErrorKind> {
    let line = Line::read(text, lines.escape);
    let may_hold_heredocs = match &line {
        Ok(line) => line.may_hold_heredocs(),
        Err(ParseErrorKind::UnknownInstruction { suggestion, .. }) => {
            matches!(suggestion, Some(Keyword::Add | Keyword::Copy | Keyword::Run))
        }
        Err(_) => false,
    };
    let mut heredocs = Vec::new();
    let mut unread = None;
    if may_hold_heredocs {
        for opening in Opening::all(text) {
            match opening.read_body(lines) {
                Ok(heredoc) => heredocs.push(heredoc),
                Err(error) => {
                    unread.get_or_insert(error);
                }
            }
        }
    }
    let line = line?;
    match unread {
        None => Ok((line, heredocs)),
        Some(error) => Err(error),
    }
}

struct Parser<'a> {
    file: Arc<str>,
    lines: Lines<'a>,
    /// Whether a FROM came before, maybe a wrong one, or its absence is already reported.
    seen_from: bool,
    directives: Vec<Spanned<Directive>>,
    globals: Vec<Spanned<Arg>>,
    stages: Vec<Stage>,
    empty_lines: Vec<Span>,
    comments: Vec<Comment>,
    errors: Vec<ParseError>,
}

impl Parser<'_> {
    fn item(&mut self, first: u32, item: Result<Item, ParseErrorKind>) {
        let result = match item {
            Ok(Item::Directive(value)) => {
                let span = self.span(first);
                self.directives.push(Spanned { value, span });
                Ok(())
            }
            Ok(Item::Instruction(joined)) => self.instruction(first, &joined),
            Err(error) => Err(error),
        };
        if let Err(kind) = result {
            let span = self.span(first);
            self.errors.push(ParseError { kind, span });
        }
    }

    /// Returns the span from the line `first` to the last line read.
    fn span(&self, first: u32) -> Span {
        Span::new(&self.file, first, self.lines.number.max(first))
    }

    fn instruction(&mut self, first: u32, joined: &Joined) -> Result<(), ParseErrorKind> {
        if let Some(line) = joined.empty_line {
            let span = Span::new(&self.file, line, line);
            self.empty_lines.push(span);
        }
        if let Some(comment) = &joined.above {
            self.comments.push(comment.clone());
        }
        let (line, heredocs) = read_line(&joined.text, &mut self.lines)?;
        let span = self.span(first);
        if line.keyword == Keyword::From {
            self.seen_from = true;
            return self.from(&line, span);
        }
        let value = convert::instruction(&line, heredocs)?;
        match (self.stages.last_mut(), value) {
            (Some(stage), value) => stage.instructions.push(Spanned { value, span }),
            (None, Instruction::Arg(value)) => self.globals.push(Spanned { value, span }),
            (None, _) if self.seen_from => {}
            (None, _) => {
                self.seen_from = true;
                return Err(ParseErrorKind::BeforeFrom { keyword: line.keyword });
            }
        }
        Ok(())
    }

    fn from(&mut self, line: &Line<'_>, span: Span) -> Result<(), ParseErrorKind> {
        let from = convert::from(line)?;
        let convert::FromLine { image, platform, name } = from;
        let from = From { image, platform, name, original: line.original.to_owned(), span };
        self.stages.push(Stage { from, instructions: Vec::new() });
        Ok(())
    }

    /// Says once what a file is that has no instruction, in place of an error for each line.
    fn tell_foreign_file(&mut self) {
        /// Fewer lines may be slips.
        const SOME: usize = 3;
        let is_binary = |error: &ParseError| {
            matches!(error.kind, ParseErrorKind::NotUtf8 { .. } | ParseErrorKind::NulByte { .. })
        };
        let is_foreign = |error: &ParseError| {
            let is_unknown = |kind: &ParseErrorKind| {
                matches!(kind, ParseErrorKind::UnknownInstruction { suggestion: None, .. })
            };
            is_binary(error) || is_unknown(&error.kind)
        };
        let has_none = self.stages.is_empty() && self.globals.is_empty();
        // Words of a binary file may be near to instructions.
        let begins_binary = self.errors.first().is_some_and(is_binary);
        if !has_none || !begins_binary && !self.errors.iter().all(is_foreign) {
            return;
        }
        let (kind, at) = match self.errors.iter().position(is_binary) {
            Some(at) if self.lines.is_utf16 => (ParseErrorKind::Utf16, at),
            Some(at) => (ParseErrorKind::Binary, at),
            None if self.errors.len() >= SOME => (ParseErrorKind::NotADockerfile, 0),
            None => return,
        };
        let span = self.errors[at].span.clone();
        self.errors = vec![ParseError { kind, span }];
    }

    fn finish(mut self) -> Result<Dockerfile, ParseErrors> {
        self.tell_foreign_file();
        if self.errors.is_empty() && self.stages.is_empty() {
            let span = self.span(1);
            self.errors.push(ParseError { kind: ParseErrorKind::NoStage, span });
        }
        let dockerfile = Dockerfile {
            file: self.file,
            directives: self.directives,
            escape: self.lines.escape,
            globals: self.globals,
            stages: self.stages,
            empty_lines: self.empty_lines,
            comments: self.comments,
        };
        match self.errors.first() {
            None => Ok(dockerfile),
            Some(first) => {
                let above = Box::new(lines_above(dockerfile, *first.span.lines.start()));
                Err(ParseErrors { list: self.errors, above })
            }
        }
    }
}

/// Returns the lines of a file above `line`.
fn lines_above(mut dockerfile: Dockerfile, line: u32) -> Dockerfile {
    let is_above = |span: &Span| *span.lines.start() < line;
    dockerfile.globals.retain(|global| is_above(&global.span));
    dockerfile.stages.retain(|stage| is_above(&stage.from.span));
    for stage in &mut dockerfile.stages {
        stage.instructions.retain(|instruction| is_above(&instruction.span));
    }
    dockerfile.empty_lines.retain(is_above);
    dockerfile.comments.retain(|comment| comment.line < line);
    dockerfile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_one_instruction() {
        let span = Span::new(&"Dockerfile".into(), 3, 3);
        let read = |text| parse_onbuild(text, &span);
        for text in ["run echo \"$x\"", "COPY <<E /x\nbody\nE", "RUN a \\\n b\n", "ENV a=1"] {
            let trigger = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(trigger.original().lines().count(), 1);
        }
        for text in ["", "# x", "RUN a\nRUN b", "FROM a", "ONBUILD RUN a", "NOPE", "COPY <<E /x"] {
            assert_eq!(read(text).expect_err(text).span, span);
        }
    }

    #[test]
    fn a_trigger_in_a_config_reads_back() {
        let file = b"FROM a\nONBUILD COPY <<-'E' <<F /x/\n\ta\n\tE\n$b\nF\n";
        let tree = parse("Dockerfile", file).expect("parses");
        let span = &tree.stages[0].from.span;
        let Instruction::Onbuild(onbuild) = &tree.stages[0].instructions[0].value else { panic!() };
        let Ok(Instruction::Copy(copy)) = parse_onbuild(&onbuild.trigger, span) else { panic!() };
        assert_eq!(copy.sources.len(), 2);
        assert_eq!(copy.destination, "/x/");
    }

    #[test]
    fn errors_keep_the_lines_above_the_first() {
        let text = b"ARG a\nFROM a AS Tools\nRUN a\nCOPY --from a b\nRUN b\nFROM c\nNOPE\n";
        let errors = parse("Dockerfile", text).expect_err("is bad");
        assert_eq!(errors.iter().count(), 2);
        let above = parse("Dockerfile", b"ARG a\nFROM a AS Tools\nRUN a\n").expect("parses");
        assert_eq!(*errors.above(), above);
        assert_eq!(parse("Dockerfile", b"NOPE").expect_err("is bad").above().stages, []);
    }

    #[test]
    fn errors_are_collected_up_to_a_limit() {
        let text = format!("FROM a\n{}", "NOPE\n".repeat(1000));
        let errors = parse("Dockerfile", text.as_bytes()).expect_err("is bad");
        assert_eq!(errors.iter().count(), ParseErrors::LIMIT);
    }

    #[test]
    fn a_file_that_is_no_dockerfile_gets_one_error() {
        use ParseErrorKind::{Binary, NotADockerfile, Utf16};
        let many = |line: &[u8]| line.repeat(100);
        let utf16: Vec<u8> =
            "\u{feff}FROM a\nRUN b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (text, kind, line) in [
            (many(b"\x7fELF\x02\x01\0\ncd\n"), Binary, 1),
            (many(b"\x1f\x8b\x08\xff\n"), Binary, 1),
            (b"%PDF-1.4\n%\xe2\xe3\n\xe2\n1 0 obj\n\xff\n".to_vec(), Binary, 2),
            (utf16, Utf16, 1),
            (b"{\n  \"name\": \"a\",\n  \"version\": 1\n}\n".to_vec(), NotADockerfile, 1),
        ] {
            let errors = parse("f", &text).expect_err("is bad");
            let errors: Vec<_> =
                errors.iter().map(|e| (e.kind.clone(), *e.span.lines.start())).collect();
            assert_eq!(errors, [(kind, line)]);
        }
        // Slips are told one by one.
        for text in [&b"FORM a\nRUN \xff\n"[..], b"ARG a\nRUN \xff\n", b"FROM a\nRUN \0\nb\nc\n"] {
            let errors = parse("f", text).expect_err("is bad");
            let is_whole = |e: &ParseError| matches!(e.kind, Binary | Utf16 | NotADockerfile);
            assert!(!errors.iter().any(is_whole), "{errors}");
        }
    }
}
