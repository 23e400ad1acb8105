//! Errors and warnings as text: message, place, causes and hint. No other file words errors.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use xbuild_build::error::{ErrorKind, Fault};
use xbuild_build::events::Warning;
use xbuild_dockerfile::{Diagnostic, suggest};
use xbuild_exec::StackLimit;
use xbuild_exec::probe::Gap;
use xbuild_model::{FailureKind, machine_fault};
use xbuild_plan::Span;
use xbuild_wording::{Hint, hints, redacted};

/// Whose business a problem is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The command line is wrong.
    CommandLine,
    /// The command line of `xbuild run` is wrong, whose status is none that its command would have.
    RunLine,
    /// A stage of the pipeline failed.
    Failure(FailureKind),
    /// The reader of standard output went away.
    BrokenPipe,
    /// An input is wrong, and standard output says so.
    Shown,
    /// A stage failed, and standard output says so.
    Told(FailureKind),
    /// A command in an image ended, or could not run: its status is that of the program. Everything is
    /// shown already.
    Exit(u8),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug)]
struct Details {
    kind: ProblemKind,
    message: String,
    /// The place in a Dockerfile, and the lines there.
    place: Option<(Span, String)>,
    causes: Vec<String>,
    /// The last output of the step that failed.
    log: Vec<String>,
    hint: Option<Hint>,
    /// The option whose value it is about.
    option: Option<&'static str>,
    /// The exit code of the command that failed.
    exit: Option<i32>,
    /// Problems that were found together with this one.
    more: Vec<Problem>,
}

impl Problem {
    /// Makes a problem with the command line.
    pub(crate) fn command_line(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::CommandLine, message)
    }

    /// Makes a problem with an input: the Dockerfile, the context or another file.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Failure(FailureKind::User), message)
    }

    /// Makes a problem of the given kind.
    pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::new(ProblemKind::Failure(kind), message)
    }

    /// Makes a problem of an error of a build with these Dockerfiles: name and text of each.
    pub(crate) fn in_files<E: Fault>(error: &E, files: &[(&str, &str)]) -> Self {
        let mut problems = error.each().into_iter().map(|fault| Self::fault(fault, files));
        // Every error has at least one fault.
        let mut first = problems.next().unwrap_or_else(|| Self::fault(error, files));
        first.0.more.extend(problems);
        first
    }

    fn fault(error: &dyn Fault, files: &[(&str, &str)]) -> Self {
        // A fault of the machine is told as such, whatever it interrupted.
        let fault = machine_fault(error);
        let kind = match (&fault, error.kind()) {
            (Some(fault), _) => ProblemKind::Failure(fault.kind),
            (None, ErrorKind::Request) => ProblemKind::CommandLine,
            (None, ErrorKind::Stage(kind)) => ProblemKind::Failure(kind),
        };
        let mut problem = Self::new(kind, error.to_string());
        problem.0.causes = causes(error.source());
        // Some messages say their cause themselves.
        problem.0.causes.retain(|cause| !problem.0.message.ends_with(cause.as_str()));
        problem.0.place = error.span().map(|span| {
            let file = files.iter().find(|(name, _)| *name == &*span.file);
            let lines: Vec<&str> = file.map_or("", |(_, text)| text).lines().collect();
            (span.clone(), excerpt(&lines, span))
        });
        problem.0.exit = error.exit_code();
        problem.0.hint = fault.map(|fault| fault.hint).or_else(|| error.hint());
        problem
    }

    /// Makes a problem of a stack that is too small.
    pub(crate) fn stack(limit: StackLimit) -> Self {
        Self::failure(FailureKind::Environment, limit.to_string()).with_hint(hints::stack_limit())
    }

    /// Makes a problem of a failed file operation.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Self {
        let fault = machine_fault(error);
        let kind = fault.as_ref().map_or(FailureKind::User, |fault| fault.kind);
        let mut problem =
            Self::failure(kind, format!("cannot {action} {}: {error}", path.display()));
        problem.0.hint = fault.map(|fault| fault.hint);
        problem
    }

    /// Makes a problem that standard output has shown already.
    pub(crate) fn shown() -> Self {
        Self::new(ProblemKind::Shown, "")
    }

    /// Makes a problem of that kind that standard output has shown already.
    pub(crate) fn shown_as(kind: FailureKind) -> Self {
        Self::new(ProblemKind::Told(kind), "")
    }

    /// Returns the message with its causes, and the advice.
    pub(crate) fn gap(&self) -> Gap {
        let causes = self.0.causes.iter().map(|cause| format!(": {cause}"));
        let why = std::iter::once(self.0.message.clone()).chain(causes).collect();
        Gap { why, how_to_get: self.0.hint.clone().unwrap_or_default() }
    }

    /// Makes a problem of that kind.
    pub(crate) fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind,
            message: told(message.into()),
            place: None,
            causes: Vec::new(),
            log: Vec::new(),
            hint: None,
            option: None,
            exit: None,
            more: Vec::new(),
        }))
    }

    /// Names Dockerfiles by their paths, which terminals can open; `paths` has name and path of each.
    pub(crate) fn with_paths(mut self, paths: &[(&str, &str)]) -> Self {
        if let Some((span, _)) = &mut self.0.place
            && let Some((_, path)) = paths.iter().find(|(name, _)| *name == &*span.file)
        {
            *span = at(span, path);
        }
        self.0.more = self.0.more.into_iter().map(|more| more.with_paths(paths)).collect();
        self
    }

    /// Returns the problem without its place in a Dockerfile.
    pub(crate) fn without_place(mut self) -> Self {
        self.0.place = None;
        self.0.more = self.0.more.into_iter().map(Self::without_place).collect();
        self
    }

    /// Names the target of a bake file that the problem is one of.
    pub(crate) fn of_target(mut self, name: &str) -> Self {
        self.0.message = format!("target {name}: {}", self.0.message);
        self
    }

    /// Names the line of the configuration file that the problem is about.
    pub(crate) fn in_file(mut self, place: &str) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Makes it a problem of another kind.
    pub(crate) fn of_kind(mut self, kind: ProblemKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Names the option whose value the problem is about, if the message does not.
    pub(crate) fn of_option(mut self, long: &'static str) -> Self {
        self.0.option = Some(long);
        self
    }

    /// Returns whether the problem is about an option.
    fn is_about(&self, long: &str) -> bool {
        if self.0.option == Some(long) {
            return true;
        }
        let option = format!("--{long}");
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        self.0.message.split(&option).skip(1).any(ends)
    }

    /// Adds advice.
    pub(crate) fn with_hint(mut self, hint: Hint) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// Adds advice if there is none.
    pub(crate) fn with_hint_unless(mut self, hint: Hint) -> Self {
        self.0.hint.get_or_insert(hint);
        self
    }

    /// Adds where the value of an option comes from if the problem is about one that is not on the command
    /// line; `origins` has such options, and what to say.
    pub(crate) fn with_origins(self, origins: &[(String, Hint)]) -> Self {
        let origin = origins.iter().find(|(option, _)| self.is_about(option));
        match origin.map(|(_, origin)| origin.clone()) {
            Some(origin) => self.and_hint(origin),
            None => self,
        }
    }

    /// Adds advice behind what there is.
    pub(crate) fn and_hint(mut self, more: Hint) -> Self {
        self.0.hint = Some(match self.0.hint.take() {
            Some(hint) => hints::both(hint, more),
            None => more,
        });
        self
    }

    /// Adds the known word that is nearest to `word` as advice, if one is near, with `end` behind it.
    pub(crate) fn did_you_mean<'a>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
        end: &str,
    ) -> Self {
        match suggest(word, known) {
            Some(known) => self.with_hint(hints::did_you_mean(format_args!("{known}{end}"))),
            None => self,
        }
    }

    /// Adds a problem that was found together with this one.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.more.push(other);
        self
    }

    /// Adds the last output of the step that failed.
    pub(crate) fn with_log(mut self, log: Vec<String>) -> Self {
        self.0.log = log;
        self
    }

    /// Returns message and place of this problem and of those that were found together with it.
    pub(crate) fn each(&self) -> Vec<(&str, Option<&Span>)> {
        let place = self.0.place.as_ref().map(|(span, _)| span);
        let more = self.0.more.iter().flat_map(Problem::each);
        std::iter::once((self.0.message.as_str(), place)).chain(more).collect()
    }

    /// Returns the exit code of the command in a step that failed, if that is the problem.
    pub(crate) fn exit(&self) -> Option<i32> {
        self.0.exit
    }

    /// Returns the message alone.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns whose business the problem is.
    pub(crate) fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// Returns the exit status for it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.0.kind {
            ProblemKind::BrokenPipe => 0,
            ProblemKind::Shown => 1,
            ProblemKind::CommandLine => 2,
            ProblemKind::RunLine => 125,
            ProblemKind::Exit(status) => status,
            ProblemKind::Failure(kind) | ProblemKind::Told(kind) => match kind {
                FailureKind::User => 1,
                FailureKind::Step => 3,
                FailureKind::Remote => 4,
                FailureKind::Environment => 5,
                FailureKind::Internal => 70,
            },
        }
    }

    /// Returns the problem as text, with a final newline.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {}\n", printable(&self.0.message));
        if let Some((span, excerpt)) = &self.0.place {
            let _ = write!(text, " --> {}\n{excerpt}", printable(&span.to_string()));
        }
        for line in &self.0.log {
            let _ = writeln!(text, "  | {line}");
        }
        for cause in &self.0.causes {
            let _ = writeln!(text, "cause: {}", printable(cause));
        }
        if let Some(hint) = &self.0.hint {
            let _ = writeln!(text, "hint: {}", printable(&redacted(hint)));
        }
        for problem in &self.0.more {
            let _ = write!(text, "\n{}", problem.render());
        }
        text
    }
}

impl<E: Fault> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::in_files(&error, &[])
    }
}

/// Returns the lines of a span in the file at that path, which becomes relative to the working folder if
/// it is below it.
fn at(span: &Span, path: &str) -> Span {
    let here = std::env::current_dir().unwrap_or_default();
    let short = Path::new(path).strip_prefix(here).map(|short| short.display().to_string());
    Span { file: short.as_deref().unwrap_or(path).into(), lines: span.lines.clone() }
}

/// Returns the causes of an error, the nearest first, none twice in a row.
pub(crate) fn causes(mut source: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let mut list = Vec::new();
    while let Some(error) = source {
        let text = told(error.to_string());
        if list.last() != Some(&text) {
            list.push(text);
        }
        source = error.source();
    }
    list
}

/// Returns a message as it is told, without the kernel's numbers, the names of types and the passwords of
/// URLs.
pub(crate) fn told(message: String) -> String {
    redacted(&without_types(without_number(message))).into_owned()
}

/// Returns a message without the names of types that readers of JSON put into it: `expected struct Index`
/// becomes `expected an object`.
fn without_types(mut message: String) -> String {
    for (begin, kind) in [("expected struct ", "an object"), ("expected enum ", "another value")] {
        let mut from = 0;
        while let Some(at) = message[from..].find(begin) {
            let start = from + at + "expected ".len();
            let name = from + at + begin.len();
            let length = message[name..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let mut end = length.map_or(message.len(), |length| name + length);
            // `struct Index with 4 elements` is said of a list in its place.
            if let Some(rest) = message[end..].strip_prefix(" with ")
                && let Some((count, rest)) = rest.split_once(" element")
                && count.bytes().all(|byte| byte.is_ascii_digit())
            {
                end = message.len() - rest.strip_prefix('s').unwrap_or(rest).len();
            }
            message.replace_range(start..end, kind);
            from = start + kind.len();
        }
    }
    message
}

/// Returns a message without the numbers of the kernel's errors, which tell nobody more than their text:
/// `Permission denied (os error 13)` becomes `Permission denied`.
pub(crate) fn without_number(mut message: String) -> String {
    const BEGIN: &str = " (os error ";
    while let Some(start) = message.find(BEGIN) {
        let number = &message[start + BEGIN.len()..];
        match number.split_once(')') {
            Some((digits, _)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                message.replace_range(start..start + BEGIN.len() + digits.len() + 1, "");
            }
            _ => break,
        }
    }
    message
}

/// Returns the lines of `span`, marked, with one line before and one after, all numbered.
fn excerpt(lines: &[&str], span: &Span) -> String {
    /// Long instructions are cut: their first lines are enough to find them.
    const MAX_LINES: u32 = 12;
    const MAX_CHARS: usize = 300;
    let (first, last) = (*span.lines.start(), *span.lines.end());
    let shown = first.saturating_sub(1).max(1)..=last.min(first + MAX_LINES).saturating_add(1);
    // An empty file has no line to show.
    if lines.len() < first as usize {
        return String::new();
    }
    let mut text = String::from("     |\n");
    let (first, last) = (*shown.start(), *shown.end());
    let numbered = (first..=last).zip(lines.iter().skip(first as usize - 1));
    for (number, line) in numbered {
        let mark = if span.lines.contains(&number) { ">" } else { " " };
        let line = printable(&redacted(line));
        let (line, end) = match line.char_indices().nth(MAX_CHARS) {
            Some((cut, _)) => (&line[..cut], " .."),
            None => (line.as_str(), ""),
        };
        let _ = writeln!(text, "{number:>4} |{mark} {line}{end}");
    }
    text.push_str("     |\n");
    text
}

/// Returns a broken rule of the linter as text, with an excerpt of the Dockerfile's `lines`; `path` is
/// the place of the Dockerfile.
pub(crate) fn finding(finding: &Diagnostic, (path, lines): (&str, &[&str])) -> String {
    let mut text =
        format!("warning: {}: {}\n", finding.rule, printable(&told(finding.message.clone())));
    let place = printable(&at(&finding.span, path).to_string());
    let _ = write!(text, " --> {place}\n{}", excerpt(lines, &finding.span));
    if let Some(url) = finding.rule.url() {
        let _ = writeln!(text, "see: {url}");
    }
    text
}

/// Returns a warning as text, without a final newline.
pub(crate) fn warning(warning: &Warning) -> String {
    let text = format!("warning: {}", printable(&told(warning.to_string())));
    let Warning::Base(error) = warning else { return text };
    let place = printable(&error.span.to_string());
    let causes = causes(error.source());
    let causes: String = causes.iter().map(|cause| format!(": {}", printable(cause))).collect();
    format!(
        "{text} ({place}){causes}\nnote: rules and errors that depend on this image are left out"
    )
}

/// Returns text that is safe to show: control characters and escape sequences of Dockerfiles,
/// images and programs do not reach the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape_sequence(&mut chars),
            '\t' | '\n' => out.push(c),
            // The C1 controls are control characters, too.
            c if c.is_control() => {}
            // These change the direction of writing.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        // Operating system commands end with BEL or ESC \.
        Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\\') {},
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use xbuild_build::error::StepError;
    use xbuild_model::StepFailure;
    use xbuild_solve::SolveError;

    use super::*;

    #[test]
    fn shows_the_place_and_what_to_do() {
        let source = "FROM a\nRUN one \\\n  two\nCMD x\n";
        let span = Span::new(&"Dockerfile".into(), 2, 3);
        let failure = StepFailure::new(FailureKind::Step, io::Error::other("exit code 1"))
            .with_hint(hints::try_again());
        let label = "[2/2] RUN one".to_owned();
        let platform = "linux/amd64".parse().unwrap();
        let error = StepError(Box::new(SolveError { label, span, platform, failure }));
        let problem = Problem::in_files(&error, &[("other", ""), ("Dockerfile", source)]);
        assert_eq!(
            problem.render(),
            "error: [2/2] RUN one: exit code 1\n --> Dockerfile:2-3\n     |\n   1 |  FROM a\n   2 |> \
             RUN one \\\n   3 |>   two\n   4 |  CMD x\n     |\nhint: try again\n"
        );
        assert_eq!(problem.exit_code(), 3);
    }

    #[test]
    fn numbers_of_errors_are_left_out() {
        let error = io::Error::from_raw_os_error(13);
        let problem = Problem::file("write", Path::new("x"), &error);
        assert_eq!(problem.render(), "error: cannot write x: Permission denied\n");
        for (text, shown) in
            [("a (os error 2): b (os error 13)", "a: b"), ("(os error x)", "(os error x)")]
        {
            assert_eq!(without_number(text.to_owned()), shown);
        }
    }

    #[test]
    fn messages_have_neither_names_of_types_nor_passwords() {
        for (text, shown) in [
            (
                "invalid type: map, expected struct DockerImage at line 1",
                "invalid type: map, expected an object at line 1",
            ),
            (
                "invalid length 1, expected struct A with 4 elements at",
                "invalid length 1, expected an object at",
            ),
            ("expected struct A, expected enum B_c", "expected an object, expected another value"),
            (
                "get http://me:SECRET@h/: no route (os error 113)",
                "get http://xxxxx:xxxxx@h/: no route",
            ),
        ] {
            assert_eq!(Problem::input(text).message(), shown);
        }
        let span = Span::new(&"Dockerfile".into(), 1, 1);
        let line = "ADD http://me:SECRET@h/ /";
        assert!(!excerpt(&[line], &span).contains("SECRET"));
    }

    #[test]
    fn an_excerpt_has_no_lines_of_an_empty_file_and_cuts_long_ones() {
        let span = Span::new(&"Dockerfile".into(), 1, 1);
        assert_eq!(excerpt(&[], &span), "");
        let shown = excerpt(&[&"x".repeat(301)], &span);
        assert!(shown.contains(&format!("{} ..\n", "x".repeat(300))), "{shown}");
    }

    #[test]
    fn lets_no_escape_sequence_through() {
        assert_eq!(
            printable("\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7} \r\u{8}\u{9b}x\ty"),
            "red x\ty"
        );
    }
}
